#include "backend/pjrt/kv_state.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "base/checked.h"

namespace dunlin::pjrt {

Result<int64_t> kv_bytes_f32(const Program& program, const std::vector<KvGroupShape>& shapes) {
  std::optional<int64_t> total = 0;
  for (size_t i = 0; i < shapes.size() && total; ++i) {
    const KvGroup& group = program.kv_groups[i];
    auto bytes = checked_mul(shapes[i].slots, shapes[i].positions);
    if (bytes) bytes = checked_mul(*bytes, group.kv_heads * group.head_dim);
    if (bytes) bytes = checked_mul<int64_t>(*bytes, int64_t{8} * group.layers);  // keys and values
    total = bytes ? checked_add(*total, *bytes) : std::nullopt;
  }
  if (total) return *total;
  return Error{ErrorKind::does_not_fit, "KV state: the pages do not fit into memory"};
}

PlaceRange doubtful_places(const LaunchPlanner::Holding& sequence, int64_t doubtful_end,
                           int64_t positions, int64_t window) {
  // As KvCache::reserve() frees pages for the step, whose first row is at this position.
  const int64_t behind = std::max<int64_t>(0, sequence.first - window + 1);
  const int64_t oldest = window == 0 ? 0 : behind / kPageTokens * kPageTokens;
  const int64_t others = positions - (sequence.length - oldest);
  const int64_t count = std::min(doubtful_end - sequence.length, others);
  return {static_cast<int32_t>(sequence.length % positions),
          static_cast<int32_t>(std::max<int64_t>(0, count))};
}

PjrtKvState::PjrtKvState(std::vector<int64_t> pages, std::vector<KvGroupShape> shapes,
                         std::vector<TensorType> types, std::vector<Arrays> arrays,
                         std::vector<size_t> first_array)
    : pages_(std::move(pages)),
      shapes_(std::move(shapes)),
      types_(std::move(types)),
      arrays_(std::move(arrays)),
      first_array_(std::move(first_array)) {
  if (shapes_.empty()) return;
  doubtful_ends_.resize(static_cast<size_t>(pages_[0] / (shapes_[0].positions / kPageTokens)));
}

int64_t PjrtKvState::pages(int32_t group) const {
  return pages_[static_cast<size_t>(group)];
}

int64_t PjrtKvState::pages_per_slot(int32_t group) const {
  return shapes_[static_cast<size_t>(group)].positions / kPageTokens;
}

uint64_t PjrtKvState::bytes() const {
  uint64_t total = 0;
  for (const TensorType& type : types_) total += static_cast<uint64_t>(type.bytes());
  return total * arrays_.size();
}

bool PjrtKvState::intact() const {
  return std::ranges::none_of(arrays_, [](const Arrays& arrays) {
    return std::ranges::any_of(arrays, [](const Buffer& array) { return array.empty(); });
  });
}

}  // namespace dunlin::pjrt
