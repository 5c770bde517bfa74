// Flags of the cache of packed weights (checkpoint/pack_cache.h).
#pragma once

#include <cstdint>

#include "checkpoint/pack_cache.h"
#include "cli/command.h"

namespace dunlin {

struct PackCacheFlags {
  bool off = false;
  int64_t gigabytes = PackCacheSettings::kMostBytes / 1'000'000'000;
  int64_t least_megabytes = PackCacheSettings::kLeastBytes / 1'000'000;

  void add_to(Command command);
  // The folder is what DUNLIN_PACK_CACHE names, which may be empty, else `packed` in the user's
  // cache_folder().
  PackCacheSettings settings() const;
};

// How a command ends whose packed weights are still written: it waits, says so once that takes longer than
// a blink, unless `quiet`, and drops them when SIGINT or SIGTERM has come. With `verbose` it says what
// became of them.
void wait_at_the_end(PackCacheSettings& settings, bool quiet, bool verbose);

}  // namespace dunlin
