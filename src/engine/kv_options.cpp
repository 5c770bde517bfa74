#include "engine/kv_options.h"

#include <utility>

#include "engine/optimizations.h"

namespace dunlin {

KvCacheOptions kv_cache_options(const Model& model, int64_t slots) {
  const StepLimits& limits = model.limits;
  const auto pages_for = [](int64_t positions) {
    return (positions + kPageTokens - 1) / kPageTokens;
  };
  KvCacheOptions options{.slots = static_cast<int32_t>(slots),
                         .context = limits.context,
                         .prefix_index = model.uses(kPrefixReuse) && model.uses(kKvCache)};
  options.generated_is_reproducible = model.options.precision != Precision::automatic;
  const int64_t growing = model.options.kv_tokens > 0 ? pages_for(model.options.kv_tokens)
                                                      : pages_for(limits.context) * slots;
  for (const KvGroup& group : model.program.kv_groups) {
    const auto number = static_cast<int32_t>(options.groups.size());
    const int64_t per_slot = model.executable->pages_per_slot(number);
    int64_t pages = group.window > 0 ? kv_pages(group, limits) * slots : growing;
    if (per_slot > 0) pages = per_slot * slots;
    options.groups.push_back({.window = group.window, .pages = pages, .pages_per_slot = per_slot});
  }
  return options;
}

std::vector<int64_t> pages_of_groups(const KvCacheOptions& options) {
  std::vector<int64_t> pages;
  for (const KvCacheGroup& group : options.groups) pages.push_back(group.pages);
  return pages;
}

Result<KvMemory> make_kv_memory(const Model& model, int64_t slots) {
  KvCacheOptions options = kv_cache_options(model, slots);
  options.prefix_index = false;
  KvMemory kv;
  DUNLIN_ASSIGN_OR_RETURN(kv.state, model.executable->make_kv_state(pages_of_groups(options)));
  kv.cache = std::make_unique<KvCache>(std::move(options));
  return kv;
}

}  // namespace dunlin
