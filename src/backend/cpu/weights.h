// Weights as the kernels read them: matrices packed in execution order into one arena, and plain
// float32 arrays for norms, biases and other operands. Prepared weights, and those that an earlier
// loading left in a store, are the same bytes, read or mapped.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "backend/api.h"
#include "backend/cpu/arena.h"
#include "backend/cpu/fuse.h"
#include "backend/cpu/kernels/packed.h"
#include "backend/cpu/weight_layout.h"
#include "base/thread_pool.h"

namespace dunlin::cpu {

// One weight of the Program; either form may be absent.
struct HeldWeight {
  std::optional<PackedMatrix> packed;  // or the first of a stack
  int64_t matrices = 1;
  const float* plain = nullptr;
  int64_t plain_bytes = 0;
  std::array<Arithmetic, 2> arithmetic = {};  // by RowClass, of linear and experts
};

class Weights {
 public:
  // Reads what the steps that kernels run need, or finds it in options.prepared or options.store; what is
  // copied lies in `pages`.
  // Errors are those of WeightLayout, and a tensor that cannot be read; prepared weights of another
  // packing, or for another precision. What is wrong in the store is an error only with
  // options.offload, where memory need not hold what is packed.
  static Result<Weights> load(const Program& program, const std::vector<FusedStep>& steps,
                              const WeightSource& source, const CompileOptions& options,
                              ThreadPool& pool, Pages pages = Pages::huge);

  // The same layout without the weights: packed matrices without data, nothing read, nothing
  // reserved. `arena`: where they are taken to lie, for who compares addresses.
  static Result<Weights> lay_out(const Program& program, const std::vector<FusedStep>& steps,
                                 const WeightSource& source, const CompileOptions& options,
                                 const std::byte* arena = nullptr);
  // By WeightId.
  const std::vector<uint64_t>& bytes_by_weight() const { return bytes_by_weight_; }
  // Most bytes that load() needs beside them while it reads with so many threads.
  int64_t loading_bytes(int threads) const { return loading_bytes_ * threads; }

  const HeldWeight& of(const Program& program, ValueId id) const {
    return held_[static_cast<size_t>(program.values[static_cast<size_t>(id)].weight)];
  }
  uint64_t bytes() const { return static_cast<uint64_t>(bytes_); }
  // Whether they lie in files that are mapped, and not in an arena.
  bool mapped() const { return prepared_ != nullptr; }

 private:
  // Null: there are none.
  static std::unique_ptr<Weights> find_stored(const WeightLayout& layout,
                                              const CompileOptions& options, ThreadPool& pool,
                                              Pages pages);
  // Packs into the store, a piece at a time, and maps that.
  static Result<Weights> pack_and_map(const WeightLayout& layout, const CompileOptions& options,
                                      ThreadPool& pool);
  Result<void> read(const Program& program, const WeightLayout& layout,
                    const CompileOptions& options, ThreadPool& pool);
  Result<void> pack(const WeightLayout& layout, WeightId id, WeightReader& reader);
  void keep(const LaidOutWeight& weight, PackedWeightStore& store) const;
  void keep_later(const WeightLayout& layout, PackedWeightStore& store) const;
  // Of the weight, as they lie in the arena.
  std::vector<PackedPart> parts_of(const LaidOutWeight& weight) const;
  Result<std::byte*> reserve(const WeightLayout& layout);
  Result<void> take(std::shared_ptr<const PreparedWeights> prepared, bool mapped,
                    const WeightLayout& layout, const CompileOptions& options, ThreadPool& pool);

  // Null: all is mapped. Shared with a store that still writes it to disk.
  std::shared_ptr<const Arena> arena_ = {};
  std::shared_ptr<const PreparedWeights> prepared_ = {};
  bool stored_ = false;  // read() left them in the store
  Pages pages_ = Pages::huge;
  int64_t bytes_ = 0;
  std::vector<uint64_t> bytes_by_weight_;
  int64_t loading_bytes_ = 0;     // of a thread
  std::vector<HeldWeight> held_;  // by WeightId
};

// Version of the bytes that packing gives (kernels/packed.h); a change of them is a new one.
inline constexpr const char* kPacking = "cpu 1";

// `program` and `source` outlive it.
Result<std::unique_ptr<WeightPacker>> make_packer(const Program& program,
                                                  const WeightSource& source,
                                                  const CompileOptions& options);
// `pool` outlives it.
std::unique_ptr<WeightPacker> make_packer(WeightLayout layout, ThreadPool& pool);

}  // namespace dunlin::cpu
