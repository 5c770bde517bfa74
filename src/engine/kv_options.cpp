#include "engine/kv_options.h"

#include <fmt/format.h>

#include <utility>

#include "base/system_memory.h"
#include "engine/optimizations.h"

namespace dunlin {
namespace {

// Of a group whose slots share its pages.
int64_t shared_pages(const Model& model, const KvGroup& group, int64_t slots) {
  const auto pages_for = [](int64_t positions) {
    return positions / kPageTokens + (positions % kPageTokens != 0 ? 1 : 0);
  };
  if (group.window > 0) return kv_pages(group, model.limits) * slots;
  return model.options.kv_tokens > 0 ? pages_for(model.options.kv_tokens)
                                     : pages_for(model.limits.context) * slots;
}

}  // namespace

KvCacheOptions kv_cache_options(const Model& model, int64_t slots) {
  const StepLimits& limits = model.limits;
  KvCacheOptions options{.slots = static_cast<int32_t>(slots),
                         .context = limits.context,
                         .prefix_index = model.uses(kPrefixReuse) && model.uses(kKvCache)};
  options.generated_is_reproducible = model.options.precision != Precision::automatic;
  for (const KvGroup& group : model.program.kv_groups) {
    const auto number = static_cast<int32_t>(options.groups.size());
    const int64_t per_slot = model.executable->pages_per_slot(number);
    options.groups.push_back(
        {.window = group.window,
         .pages = per_slot > 0 ? per_slot * slots : shared_pages(model, group, slots),
         .pages_per_slot = per_slot});
  }
  return options;
}

uint64_t kv_bytes(const Model& model) {
  const ModelOptions& options = model.options;
  const KvType type = options.kv_type.value_or(default_kv_type(options.precision));
  // Nobody has looked at the number of sequences yet: in float64 no product overflows.
  const auto sequences = static_cast<double>(model.limits.sequences);
  double needed = 0;
  for (const KvGroup& group : model.program.kv_groups) {
    const int64_t page_bytes =
        2 * kPageTokens * group.layers * group.kv_heads * kv_head_bytes(type, group.head_dim);
    const bool shared = group.window == 0 && options.kv_tokens > 0;
    needed += static_cast<double>(shared_pages(model, group, 1)) * (shared ? 1.0 : sequences) *
              static_cast<double>(page_bytes);
  }
  constexpr double kMost = 9.2e18;
  return needed < kMost ? static_cast<uint64_t>(needed) : UINT64_MAX;
}

Result<void> check_kv_memory(const Model& model) {
  const ModelOptions& options = model.options;
  if (options.backend != "cpu" && options.backend != "reference") return {};
  const uint64_t needed = kv_bytes(model);
  const uint64_t there = system_memory();
  if (needed <= there) return {};
  constexpr double kGib = 1 << 30;
  const double positions = options.kv_tokens > 0 ? static_cast<double>(options.kv_tokens)
                                                 : static_cast<double>(model.limits.context) *
                                                       static_cast<double>(model.limits.sequences);
  return Error{
      ErrorKind::does_not_fit,
      fmt::format("a KV cache of {:.0f} positions needs {:.1f} GiB, and this process can have "
                  "{:.1f} GiB of memory",
                  positions, static_cast<double>(needed) / kGib,
                  static_cast<double>(there) / kGib)};
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
