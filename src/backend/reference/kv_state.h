// The bytes of the KV cache: pages of 16 positions per (group, layer, kv head), stored in bf16, or
// in float32 under `--precision f32`.
#pragma once

#include <cstdint>
#include <vector>

#include "backend/api.h"
#include "base/float16.h"

namespace dunlin::reference {

class ReferenceKvState final : public KvState {
 public:
  // Zeros. Throws std::bad_alloc or std::length_error when the pages do not fit into memory.
  ReferenceKvState(const std::vector<KvGroup>& groups, const std::vector<int64_t>& pages_per_group,
                   bool store_bf16);

  int32_t groups() const override { return static_cast<int32_t>(groups_.size()); }
  int64_t pages(int32_t group) const override;
  uint64_t bytes() const override;
  std::string layout() const override;
  uint64_t page_bytes(int32_t group) const override;
  void save_page(int32_t group, int32_t page, std::span<std::byte> into) const override;
  void load_page(int32_t group, int32_t page, std::span<const std::byte> from) override;

  // A slot: position mod 16 of a physical page, in one layer of a group and kv head.
  struct Slot {
    int32_t group;
    int32_t layer;
    int64_t kv_head;
    int32_t page;
    int32_t within;
  };
  // Rounds k[h] and v[h] to the storage type.
  void write(const Slot& slot, const float* k, const float* v);
  void read(const Slot& slot, float* k, float* v) const;
  void copy_page(const PageMove& move);

 private:
  // Elements [layer][page][kv head][k, v][16][h] of one group, in one of the two vectors.
  struct Pages {
    KvGroup group;
    int64_t count = 0;
    std::vector<float> f32;
    std::vector<bfloat16> bf16;

    int64_t page_elements() const {
      return group.kv_heads * 2 * int64_t{kPageTokens} * group.head_dim;
    }
    int64_t offset_of_k(const Slot& slot) const;
    int64_t from_k_to_v() const { return int64_t{kPageTokens} * group.head_dim; }
  };

  // Calls f with the bytes of the page in each layer, outermost layer first.
  template <typename PagesOf, typename F>
  static void for_each_layer(PagesOf& pages, int32_t page, F&& f);

  bool store_bf16_;
  std::vector<Pages> groups_;
};

}  // namespace dunlin::reference
