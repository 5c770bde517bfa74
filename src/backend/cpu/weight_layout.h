// Which weights the steps of a Program read, in which forms, and where in memory these lie.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "backend/api.h"
#include "backend/cpu/fuse.h"
#include "backend/cpu/kernels/packed.h"
#include "base/mapped_bytes.h"
#include "base/thread_pool.h"
#include "formats/prepared_weights.h"

namespace dunlin::cpu {

// One weight; either form may be absent (-1).
struct LaidOutWeight {
  bool exact = false;   // rows must decode exactly
  bool packed = false;  // read as a packed matrix, or as a stack of them
  bool plain = false;   // as float32
  WeightView view = {};
  int64_t matrices = 1;                       // of a stack of experts, one behind the other
  std::array<Arithmetic, 2> arithmetic = {};  // by RowClass, of linear and experts
  PackedLayout layout = {};                   // of a matrix
  int64_t packed_at = -1;                     // in the arena
  int64_t plain_at = -1;
  // The weight whose rows are stored in turn with those of this one, as gate and up of experts may be:
  // both are packed from one reading.
  std::optional<WeightId> companion = {};
  std::optional<WeightView> both = {};  // rows_in_turn(), of the one with the even rows

  int64_t stripes() const { return matrices * layout.stripes(); }
  int64_t packed_bytes() const { return matrices * layout.bytes(); }
  int64_t plain_bytes() const { return view.rows * view.columns * int64_t{4}; }
  // The forms as parts of prepared weights: "model.norm.weight f32 [1, 64]".
  PreparedPart packed_part() const;
  PreparedPart plain_part() const;
};

class WeightLayout {
 public:
  // Reads nothing of the weights. A weight that is missing or of another shape is an error that
  // names the tensor, its file and both shapes; a format without a packed form is one too, and so are
  // more columns than the arithmetic takes.
  static Result<WeightLayout> create(const Program& program, const std::vector<FusedStep>& steps,
                                     const WeightSource& source, Precision precision);

  const std::vector<LaidOutWeight>& weights() const { return weights_; }  // by WeightId
  const std::vector<WeightId>& order() const { return order_; }           // of first use
  std::vector<PreparedPart> parts() const;                                // in that order
  const LaidOutWeight& of(WeightId weight) const { return weights_[static_cast<size_t>(weight)]; }
  int64_t bytes() const { return bytes_; }                  // of the arena
  int64_t loading_bytes() const { return loading_bytes_; }  // that one thread needs to pack

 private:
  LaidOutWeight& weight(WeightId weight) { return weights_[static_cast<size_t>(weight)]; }
  void note_uses(const Program& program, const std::vector<FusedStep>& steps);
  // `kept`: one of kept_weights().
  Result<void> resolve(const WeightDeclaration& declaration, const WeightSource& source,
                       Precision precision, bool kept, LaidOutWeight& weight);
  void find_companions();
  int64_t reserve(int64_t bytes);

  std::vector<LaidOutWeight> weights_ = {};
  std::vector<WeightId> order_ = {};
  int64_t bytes_ = 0;
  int64_t loading_bytes_ = 0;
};

// Reads weights and packs them, with pread into a buffer of a megabyte per thread, two for companions. The
// system has the buffers back when it ends.
class WeightReader {
 public:
  explicit WeightReader(ThreadPool& pool);

  // Stripes [first, first + count) of all matrices, the first at `into`; with `into_odd` those of its
  // companion, too, of a weight that has `both`. Each worker packs contiguous ranges, so the memory is
  // first touched by the thread that reads it later.
  Result<void> pack(const LaidOutWeight& weight, int64_t first, int64_t count, std::byte* into,
                    std::byte* into_odd = nullptr);
  // Rows [first, first + count) as float32.
  Result<void> read_plain(const LaidOutWeight& weight, int64_t first, int64_t count, float* into);

 private:
  struct Stripes {
    int64_t first, count;
    std::byte* into;
    std::byte* into_odd;  // null: of one weight
  };
  Result<void> pack_stripes(const LaidOutWeight& weight, Stripes stripes, size_t worker);
  Result<void> pack_in_matrix(const LaidOutWeight& weight, const Stripes& stripes, size_t worker);

  ThreadPool& pool_;
  std::vector<MappedBytes> buffers_;  // by worker
  std::vector<MappedBytes> parted_;   // rows of two weights
  std::vector<MappedBytes> scratch_;
};

}  // namespace dunlin::cpu
