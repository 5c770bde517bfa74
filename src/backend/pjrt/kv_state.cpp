#include "backend/pjrt/kv_state.h"

#include <algorithm>
#include <utility>

namespace dunlin::pjrt {

PjrtKvState::PjrtKvState(std::vector<KvGroupShape> shapes, std::vector<TensorType> types,
                         std::vector<Buffer> arrays, std::vector<size_t> first_array)
    : shapes_(std::move(shapes)),
      types_(std::move(types)),
      arrays_(std::move(arrays)),
      first_array_(std::move(first_array)) {}

int64_t PjrtKvState::pages(int32_t group) const {
  return shapes_[static_cast<size_t>(group)].slots * pages_per_slot(group);
}

int64_t PjrtKvState::pages_per_slot(int32_t group) const {
  return shapes_[static_cast<size_t>(group)].positions / kPageTokens;
}

uint64_t PjrtKvState::bytes() const {
  uint64_t total = 0;
  for (const TensorType& type : types_) total += static_cast<uint64_t>(type.bytes());
  return total;
}

bool PjrtKvState::intact() const {
  return std::ranges::none_of(arrays_, [](const Buffer& array) { return array.empty(); });
}

}  // namespace dunlin::pjrt
