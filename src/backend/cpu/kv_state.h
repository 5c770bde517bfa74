// The bytes of the KV cache of the CPU back end.
//
// One arena per KV group, [layer][page][kv head][block], where a block is the page of one layer and
// kv head as kernels/kv_page.h lays it out. Layers are outermost because a step runs one layer at a
// time: its pages are neighbours, and a page move copies one contiguous piece per layer. Memory
// becomes resident when a page is first written, so a large cache that is hardly used costs little.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "backend/api.h"
#include "backend/cpu/arena.h"
#include "backend/cpu/kernels/kv_page.h"

namespace dunlin::cpu {

class CpuKvState final : public KvState {
 public:
  static Result<std::unique_ptr<CpuKvState>> create(const std::vector<KvGroup>& groups,
                                                    const std::vector<int64_t>& pages_per_group,
                                                    KvType type);

  // What create() would reserve; the same errors but for memory that is not there.
  static Result<uint64_t> bytes_of(const std::vector<KvGroup>& groups,
                                   const std::vector<int64_t>& pages_per_group, KvType type);

  int32_t groups() const override { return static_cast<int32_t>(groups_.size()); }
  int64_t pages(int32_t group) const override;
  uint64_t bytes() const override;
  std::string layout() const override;
  uint64_t page_bytes(int32_t group) const override;
  void save_page(int32_t group, int32_t page, std::span<std::byte> into) const override;
  void load_page(int32_t group, int32_t page, std::span<const std::byte> from) override;

  // Page p of (layer, kv_head) lies at block(group, layer, kv_head) + p * page_stride(group).
  std::byte* block(int32_t group, int32_t layer, int64_t kv_head) const {
    const Pages& g = groups_[static_cast<size_t>(group)];
    return g.arena.data() + layer * g.layer_stride + kv_head * g.block_bytes;
  }
  int64_t page_stride(int32_t group) const {
    return groups_[static_cast<size_t>(group)].page_stride;
  }

  // Copies a page in every layer and kv head of its group.
  void move(const PageMove& move) noexcept;

 private:
  struct Pages {
    Arena arena;
    int64_t count = 0;
    int32_t layers = 0;
    int64_t block_bytes = 0;
    int64_t page_stride = 0;   // bytes: all kv heads of a page in one layer
    int64_t layer_stride = 0;  // bytes
    int64_t bytes = 0;
  };
  // Sizes and strides of every group, without memory.
  static Result<std::vector<Pages>> lay_out(const std::vector<KvGroup>& groups,
                                            const std::vector<int64_t>& pages_per_group,
                                            KvType type);
  std::byte* page_of(const Pages& group, int32_t layer, int32_t page) const {
    return group.arena.data() + layer * group.layer_stride + page * group.page_stride;
  }

  KvType type_ = KvType::bf16;
  std::vector<Pages> groups_;
};

}  // namespace dunlin::cpu
