// Reserves the arenas of the KV groups and copies pages.
#include "backend/cpu/kv_state.h"

#include <fmt/format.h>

#include <cstring>

#include "base/check.h"
#include "base/checked.h"

namespace dunlin::cpu {

Result<std::vector<CpuKvState::Pages>> CpuKvState::lay_out(
    const std::vector<KvGroup>& groups, const std::vector<int64_t>& pages_per_group, KvType type) {
  if (pages_per_group.size() != groups.size()) {
    return runtime_error(fmt::format("KV state: page counts for {} groups, but the model has {}",
                                     pages_per_group.size(), groups.size()));
  }
  std::vector<Pages> all;
  for (size_t i = 0; i < groups.size(); ++i) {
    Pages pages;
    pages.count = pages_per_group[i];
    pages.layers = groups[i].layers;
    pages.block_bytes = kv_page_bytes(type, groups[i].head_dim);
    pages.page_stride = pages.block_bytes * groups[i].kv_heads;
    const auto layer_stride = checked_mul(pages.page_stride, pages.count);
    const auto bytes =
        layer_stride ? checked_mul<int64_t>(*layer_stride, pages.layers) : std::nullopt;
    if (pages.count < 0) {
      return runtime_error(fmt::format("KV state: {} pages in group {}", pages.count, i));
    }
    if (!bytes) {
      return Error{ErrorKind::does_not_fit,
                   fmt::format("KV state: {} pages in group {} are more bytes than a size can hold",
                               pages.count, i)};
    }
    pages.layer_stride = *layer_stride;
    pages.bytes = *bytes;
    all.push_back(std::move(pages));
  }
  return all;
}

Result<std::unique_ptr<CpuKvState>> CpuKvState::create(const std::vector<KvGroup>& groups,
                                                       const std::vector<int64_t>& pages_per_group,
                                                       KvType type) {
  auto state = std::make_unique<CpuKvState>();
  state->type_ = type;
  DUNLIN_ASSIGN_OR_RETURN(state->groups_, lay_out(groups, pages_per_group, type));
  for (Pages& pages : state->groups_) {
    DUNLIN_ASSIGN_OR_RETURN(
        pages.arena,
        Arena::create(pages.bytes, fmt::format("KV cache of {} pages of {} positions in {} layers",
                                               pages.count, kPageTokens, pages.layers)));
  }
  return state;
}

Result<uint64_t> CpuKvState::bytes_of(const std::vector<KvGroup>& groups,
                                      const std::vector<int64_t>& pages_per_group, KvType type) {
  DUNLIN_ASSIGN_OR_RETURN(const std::vector<Pages> all, lay_out(groups, pages_per_group, type));
  uint64_t total = 0;
  for (const Pages& pages : all) total += static_cast<uint64_t>(pages.bytes);
  return total;
}

int64_t CpuKvState::pages(int32_t group) const {
  return groups_[static_cast<size_t>(group)].count;
}

uint64_t CpuKvState::bytes() const {
  uint64_t total = 0;
  for (const Pages& pages : groups_) total += static_cast<uint64_t>(pages.bytes);
  return total;
}

std::string CpuKvState::layout() const {
  switch (type_) {
    case KvType::bf16:
      return "cpu bf16 1";
    case KvType::f32:
      return "cpu f32 1";
    case KvType::int8:
      break;
  }
  return "cpu int8 1";
}

uint64_t CpuKvState::page_bytes(int32_t group) const {
  const Pages& pages = groups_[static_cast<size_t>(group)];
  return static_cast<uint64_t>(pages.page_stride * pages.layers);
}

void CpuKvState::save_page(int32_t group, int32_t page, std::span<std::byte> into) const {
  DUNLIN_CHECK(into.size() == page_bytes(group), "a page of another size");
  const Pages& pages = groups_[static_cast<size_t>(group)];
  const auto stride = static_cast<size_t>(pages.page_stride);
  for (int32_t layer = 0; layer < pages.layers; ++layer)
    std::memcpy(into.data() + layer * stride, page_of(pages, layer, page), stride);
}

void CpuKvState::load_page(int32_t group, int32_t page, std::span<const std::byte> from) {
  DUNLIN_CHECK(from.size() == page_bytes(group), "a page of another size");
  const Pages& pages = groups_[static_cast<size_t>(group)];
  const auto stride = static_cast<size_t>(pages.page_stride);
  for (int32_t layer = 0; layer < pages.layers; ++layer)
    std::memcpy(page_of(pages, layer, page), from.data() + layer * stride, stride);
}

void CpuKvState::move(const PageMove& move) noexcept {
  if (move.from == move.to) return;
  const Pages& group = groups_[static_cast<size_t>(move.group)];
  for (int32_t layer = 0; layer < group.layers; ++layer) {
    std::memcpy(page_of(group, layer, move.to), page_of(group, layer, move.from),
                static_cast<size_t>(group.page_stride));
  }
}

}  // namespace dunlin::cpu
