// The bytes of the KV cache: pages of 16 positions per (group, layer, kv head), stored in bf16, in
// float32 under `--precision f32`, or in int8 with a scale for each key and each value.
#pragma once

#include <cstdint>
#include <vector>

#include "backend/api.h"

namespace dunlin::reference {

class ReferenceKvState final : public KvState {
 public:
  // Zeros. Throws std::bad_alloc or std::length_error when the pages do not fit into memory.
  ReferenceKvState(const std::vector<KvGroup>& groups, const std::vector<int64_t>& pages_per_group,
                   KvType type);

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
  // What the elements of a key and of a value are multiples of: 1 unless they are codes.
  struct Scales {
    float key = 1.0f;
    float value = 1.0f;
  };
  // Rounds k[h] and v[h] to the storage type.
  void write(const Slot& slot, const float* k, const float* v);
  // The elements as stored, codes as whole numbers.
  Scales read(const Slot& slot, float* k, float* v) const;
  void copy_page(const PageMove& move);

 private:
  // [layer][page][kv head][k, v][16][h elements, then the scale where the type has one] of one group.
  struct Pages {
    KvGroup group;
    int64_t count = 0;
    int64_t head_bytes = 0;  // of a key, or of a value
    std::vector<std::byte> bytes;

    int64_t bytes_of_layer() const {
      return group.kv_heads * 2 * int64_t{kPageTokens} * head_bytes;
    }
    // Of the page in a layer.
    size_t offset_of(int32_t layer, int32_t page) const {
      return static_cast<size_t>((layer * count + page) * bytes_of_layer());
    }
    size_t offset_of_k(const Slot& slot) const;
    size_t from_k_to_v() const { return static_cast<size_t>(int64_t{kPageTokens} * head_bytes); }
  };

  KvType type_;
  std::vector<Pages> groups_;
};

}  // namespace dunlin::reference
