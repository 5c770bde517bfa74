// Reads, writes and copies of KV pages, converting between float32 and the storage type.
#include "backend/reference/kv_state.h"

#include <algorithm>
#include <span>

#include "base/check.h"

namespace dunlin::reference {

ReferenceKvState::ReferenceKvState(const std::vector<KvGroup>& groups,
                                   const std::vector<int64_t>& pages_per_group, bool store_bf16)
    : store_bf16_(store_bf16) {
  for (size_t i = 0; i < groups.size(); ++i) {
    Pages pages;
    pages.group = groups[i];
    pages.count = pages_per_group[i];
    const auto elements =
        static_cast<size_t>(groups[i].layers * pages.count * pages.page_elements());
    if (store_bf16) {
      pages.bf16.resize(elements);
    } else {
      pages.f32.resize(elements);
    }
    groups_.push_back(std::move(pages));
  }
}

int64_t ReferenceKvState::pages(int32_t group) const {
  return groups_[static_cast<size_t>(group)].count;
}

uint64_t ReferenceKvState::bytes() const {
  uint64_t total = 0;
  for (const Pages& pages : groups_) {
    total += pages.f32.size() * sizeof(float) + pages.bf16.size() * sizeof(bfloat16);
  }
  return total;
}

std::string ReferenceKvState::layout() const {
  return store_bf16_ ? "reference bf16 1" : "reference f32 1";
}

uint64_t ReferenceKvState::page_bytes(int32_t group) const {
  const Pages& pages = groups_[static_cast<size_t>(group)];
  const auto elements = static_cast<uint64_t>(pages.group.layers * pages.page_elements());
  return elements * (store_bf16_ ? sizeof(bfloat16) : sizeof(float));
}

template <typename PagesOf, typename F>
void ReferenceKvState::for_each_layer(PagesOf& pages, int32_t page, F&& f) {
  const auto elements = static_cast<size_t>(pages.page_elements());
  for (int32_t layer = 0; layer < pages.group.layers; ++layer) {
    const size_t first = static_cast<size_t>(layer * pages.count + page) * elements;
    if (pages.f32.empty()) {
      f(std::span(pages.bf16).subspan(first, elements));
    } else {
      f(std::span(pages.f32).subspan(first, elements));
    }
  }
}

void ReferenceKvState::save_page(int32_t group, int32_t page, std::span<std::byte> into) const {
  DUNLIN_CHECK(into.size() == page_bytes(group), "a page of another size");
  for_each_layer(groups_[static_cast<size_t>(group)], page, [&into](auto elements) {
    const auto bytes = std::as_bytes(elements);
    std::ranges::copy(bytes, into.begin());
    into = into.subspan(bytes.size());
  });
}

void ReferenceKvState::load_page(int32_t group, int32_t page, std::span<const std::byte> from) {
  DUNLIN_CHECK(from.size() == page_bytes(group), "a page of another size");
  for_each_layer(groups_[static_cast<size_t>(group)], page, [&from](auto elements) {
    const auto bytes = std::as_writable_bytes(elements);
    std::ranges::copy(from.first(bytes.size()), bytes.begin());
    from = from.subspan(bytes.size());
  });
}

int64_t ReferenceKvState::Pages::offset_of_k(const Slot& slot) const {
  const int64_t page = slot.layer * count + slot.page;
  return page * page_elements() + slot.kv_head * 2 * from_k_to_v() + slot.within * group.head_dim;
}

void ReferenceKvState::write(const Slot& slot, const float* k, const float* v) {
  Pages& pages = groups_[static_cast<size_t>(slot.group)];
  const int64_t to_k = pages.offset_of_k(slot);
  const int64_t to_v = to_k + pages.from_k_to_v();
  const int64_t width = pages.group.head_dim;
  if (store_bf16_) {
    std::transform(k, k + width, pages.bf16.begin() + to_k, to_bfloat16);
    std::transform(v, v + width, pages.bf16.begin() + to_v, to_bfloat16);
  } else {
    std::copy_n(k, width, pages.f32.begin() + to_k);
    std::copy_n(v, width, pages.f32.begin() + to_v);
  }
}

void ReferenceKvState::read(const Slot& slot, float* k, float* v) const {
  const Pages& pages = groups_[static_cast<size_t>(slot.group)];
  const int64_t from_k = pages.offset_of_k(slot);
  const int64_t from_v = from_k + pages.from_k_to_v();
  for (int64_t d = 0; d < pages.group.head_dim; ++d) {
    const auto k_index = static_cast<size_t>(from_k + d);
    const auto v_index = static_cast<size_t>(from_v + d);
    k[d] = store_bf16_ ? to_float(pages.bf16[k_index]) : pages.f32[k_index];
    v[d] = store_bf16_ ? to_float(pages.bf16[v_index]) : pages.f32[v_index];
  }
}

void ReferenceKvState::copy_page(const PageMove& move) {
  Pages& pages = groups_[static_cast<size_t>(move.group)];
  const int64_t elements = pages.page_elements();
  if (move.from == move.to) return;
  for (int32_t layer = 0; layer < pages.group.layers; ++layer) {
    const int64_t from = (layer * pages.count + move.from) * elements;
    const int64_t to = (layer * pages.count + move.to) * elements;
    if (store_bf16_) {
      std::copy_n(pages.bf16.begin() + from, elements, pages.bf16.begin() + to);
    } else {
      std::copy_n(pages.f32.begin() + from, elements, pages.f32.begin() + to);
    }
  }
}

}  // namespace dunlin::reference
