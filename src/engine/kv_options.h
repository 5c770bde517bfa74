// The KV cache of a model as it was compiled: its size, and the cache itself.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "backend/api.h"
#include "base/result.h"
#include "cache/kv_cache.h"
#include "engine/model.h"

namespace dunlin {

// Every one of `slots` sequences can hold the whole context, unless ModelOptions::kv_tokens makes
// the pool smaller. A windowed group needs its window and the rows of a step, touching one page more
// than they fill. Where slots have pages of their own, the back end says how many.
KvCacheOptions kv_cache_options(const Model& model, int64_t slots);

// Bytes of the cache of all sequences of a model that has its Program, options and limits, for the back
// ends that hold it in this machine's memory; saturates at UINT64_MAX.
uint64_t kv_bytes(const Model& model);

// Whether they can be in this machine's memory, or in what the control groups of the process allow of it
// (base/system_memory.h); asked before a weight is read. The error (kind does_not_fit) has both sizes.
Result<void> check_kv_memory(const Model& model);

// Pages of each group, as Executable::make_kv_state takes them.
std::vector<int64_t> pages_of_groups(const KvCacheOptions& options);

// A KV cache: the bytes of its pages, and who has which.
struct KvMemory {
  std::unique_ptr<KvState> state = {};
  std::unique_ptr<KvCache> cache = {};
};

// For `slots` sequences of their own, whose beginnings nothing shares. Errors: no memory.
Result<KvMemory> make_kv_memory(const Model& model, int64_t slots);

}  // namespace dunlin
