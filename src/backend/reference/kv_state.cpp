// Reads, writes and copies of KV pages, converting between float32 and the storage type.
#include "backend/reference/kv_state.h"

#include <algorithm>
#include <cstring>
#include <span>

#include "backend/reference/scalar.h"
#include "base/check.h"
#include "base/float16.h"

namespace dunlin::reference {
namespace {

// A key or a value of `width` elements at `to`, with the scale of codes behind them.
void store_head(KvType type, const float* x, int64_t width, std::byte* to) {
  switch (type) {
    case KvType::bf16:
      for (int64_t d = 0; d < width; ++d) {
        const bfloat16 rounded = to_bfloat16(x[d]);
        std::memcpy(to + d * 2, &rounded, 2);
      }
      return;
    case KvType::f32:
      std::memcpy(to, x, static_cast<size_t>(width) * sizeof(float));
      return;
    case KvType::int8:
      break;
  }
  const float scale = quantize_group(x, width, reinterpret_cast<int8_t*>(to));
  std::memcpy(to + width, &scale, sizeof(scale));
}

// The elements; returns their scale.
float load_head(KvType type, const std::byte* from, int64_t width, float* x) {
  switch (type) {
    case KvType::bf16:
      for (int64_t d = 0; d < width; ++d) {
        bfloat16 stored;
        std::memcpy(&stored, from + d * 2, 2);
        x[d] = to_float(stored);
      }
      return 1.0f;
    case KvType::f32:
      std::memcpy(x, from, static_cast<size_t>(width) * sizeof(float));
      return 1.0f;
    case KvType::int8:
      break;
  }
  for (int64_t d = 0; d < width; ++d) x[d] = static_cast<float>(static_cast<int8_t>(from[d]));
  float scale;
  std::memcpy(&scale, from + width, sizeof(scale));
  return scale;
}

}  // namespace

ReferenceKvState::ReferenceKvState(const std::vector<KvGroup>& groups,
                                   const std::vector<int64_t>& pages_per_group, KvType type)
    : type_(type) {
  for (size_t i = 0; i < groups.size(); ++i) {
    Pages pages;
    pages.group = groups[i];
    pages.count = pages_per_group[i];
    pages.head_bytes = kv_head_bytes(type, groups[i].head_dim);
    pages.bytes.resize(
        static_cast<size_t>(groups[i].layers * pages.count * pages.bytes_of_layer()));
    groups_.push_back(std::move(pages));
  }
}

int64_t ReferenceKvState::pages(int32_t group) const {
  return groups_[static_cast<size_t>(group)].count;
}

uint64_t ReferenceKvState::bytes() const {
  uint64_t total = 0;
  for (const Pages& pages : groups_) total += pages.bytes.size();
  return total;
}

std::string ReferenceKvState::layout() const {
  switch (type_) {
    case KvType::bf16:
      return "reference bf16 1";
    case KvType::f32:
      return "reference f32 1";
    case KvType::int8:
      break;
  }
  return "reference int8 1";
}

uint64_t ReferenceKvState::page_bytes(int32_t group) const {
  const Pages& pages = groups_[static_cast<size_t>(group)];
  return static_cast<uint64_t>(pages.group.layers * pages.bytes_of_layer());
}

void ReferenceKvState::save_page(int32_t group, int32_t page, std::span<std::byte> into) const {
  DUNLIN_CHECK(into.size() == page_bytes(group), "a page of another size");
  const Pages& pages = groups_[static_cast<size_t>(group)];
  const auto of_layer = static_cast<size_t>(pages.bytes_of_layer());
  for (int32_t layer = 0; layer < pages.group.layers; ++layer) {
    const auto bytes = std::span(pages.bytes).subspan(pages.offset_of(layer, page), of_layer);
    std::ranges::copy(bytes, into.begin());
    into = into.subspan(of_layer);
  }
}

void ReferenceKvState::load_page(int32_t group, int32_t page, std::span<const std::byte> from) {
  DUNLIN_CHECK(from.size() == page_bytes(group), "a page of another size");
  Pages& pages = groups_[static_cast<size_t>(group)];
  const auto of_layer = static_cast<size_t>(pages.bytes_of_layer());
  for (int32_t layer = 0; layer < pages.group.layers; ++layer) {
    const auto bytes = std::span(pages.bytes).subspan(pages.offset_of(layer, page), of_layer);
    std::ranges::copy(from.first(of_layer), bytes.begin());
    from = from.subspan(of_layer);
  }
}

size_t ReferenceKvState::Pages::offset_of_k(const Slot& slot) const {
  const int64_t within = slot.kv_head * 2 * int64_t{kPageTokens} + slot.within;
  return offset_of(slot.layer, slot.page) + static_cast<size_t>(within * head_bytes);
}

void ReferenceKvState::write(const Slot& slot, const float* k, const float* v) {
  Pages& pages = groups_[static_cast<size_t>(slot.group)];
  std::byte* const to = pages.bytes.data() + pages.offset_of_k(slot);
  store_head(type_, k, pages.group.head_dim, to);
  store_head(type_, v, pages.group.head_dim, to + pages.from_k_to_v());
}

ReferenceKvState::Scales ReferenceKvState::read(const Slot& slot, float* k, float* v) const {
  const Pages& pages = groups_[static_cast<size_t>(slot.group)];
  const std::byte* const from = pages.bytes.data() + pages.offset_of_k(slot);
  return {load_head(type_, from, pages.group.head_dim, k),
          load_head(type_, from + pages.from_k_to_v(), pages.group.head_dim, v)};
}

void ReferenceKvState::copy_page(const PageMove& move) {
  Pages& pages = groups_[static_cast<size_t>(move.group)];
  if (move.from == move.to) return;
  for (int32_t layer = 0; layer < pages.group.layers; ++layer) {
    const auto from =
        pages.bytes.begin() + static_cast<ptrdiff_t>(pages.offset_of(layer, move.from));
    const auto to = pages.bytes.begin() + static_cast<ptrdiff_t>(pages.offset_of(layer, move.to));
    std::copy_n(from, pages.bytes_of_layer(), to);
  }
}

}  // namespace dunlin::reference
