// Sessions: sequences of the KV cache that nobody is running, kept for the next request of their
// session until their place is needed.
#pragma once

#include <dunlin/request.h>

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/result.h"
#include "cache/kv_cache.h"

namespace dunlin {

class Sessions {
 public:
  // `cache` has `slots` slots and outlives the object.
  Sessions(KvCache& cache, int64_t slots);

  // A slot for a sequence that begins with `prompt`: the session's (0: none), cut where the prompt
  // differs, or a new one with what the prefix index has, whichever holds more. The least recently
  // used session makes room when no slot is free. The error when none is left is of kind runtime.
  Result<KvCache::Opened> open(SessionId id, std::span<const int32_t> prompt);

  // Keeps the sequence for the session; closes the slot when there is no session (0) or it has one
  // already.
  void keep(SessionId id, int32_t slot);
  void end(SessionId id);

  // The sequence that waits for the session's next request.
  std::optional<int32_t> slot_of(SessionId id) const;

  // Closes the least recently used session. False: there is none.
  bool close_oldest();

 private:
  struct Idle {
    SessionId id;
    int32_t slot;
  };

  std::optional<KvCache::Opened> resume(SessionId id, std::span<const int32_t> prompt);

  KvCache* cache_;
  std::vector<Idle> idle_;  // least recently used first
};

}  // namespace dunlin
