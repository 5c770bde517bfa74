// The steps of `linear`: one or several over the same x, which may be normed first, and gathered before
// that, each with bias and residual, or a gate and an up projection with their activation.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "backend/cpu/bound_step.h"
#include "backend/cpu/embed_rows.h"
#include "backend/cpu/kernels/kernels.h"
#include "backend/cpu/select.h"

namespace dunlin::cpu {

struct LinearMatrix {
  PackedMatrix weight;
  Arithmetic arithmetic[2];          // by RowClass
  Kernel<LinearFunction> kernel[2];  // by RowClass
  const float* bias = nullptr;
  const float* residual = nullptr;
  float* y = nullptr;  // [rows, weight.layout.rows]
};

struct LinearSettings {
  std::string name;  // of the operation and its rewrites: "linear+shared_input"
  std::vector<LinearMatrix> matrices;
  const float* x = nullptr;  // [rows, columns]
  int64_t columns = 0;
  LeadingRows rows;
  Kernel<PrepareFunction> prepare[kArithmetics];  // by Arithmetic

  // Of x, before it is prepared; without a function: x is as the linears read it.
  Kernel<RmsNormFunction> norm;
  const float* norm_weight = nullptr;  // [columns]
  float eps = 0;
  // Writes each row of x before the norm reads it; without a function: x is there.
  EmbedRows embed;

  // y of the first matrix is replaced by act(gate) * up, where there is a gate; `gated_y` may be it.
  Kernel<GatedFunction> gated;
  float alpha = 0;
  float limit = 0;
  float* gated_y = nullptr;

  int64_t prefetch_bytes = kPrefetchBytes;  // of `linear`
  StepLimits limits;
};

class LinearStep final : public BoundStep {
 public:
  explicit LinearStep(LinearSettings settings);
  void run(const RunContext& context) noexcept override;
  std::optional<StepWork> work(const RunContext& context) const noexcept override;
  int64_t scratch_bytes() const override { return scratch_bytes_; }
  int64_t workspace_bytes() const override;
  std::vector<std::pair<std::string, std::string>> kernels() const override;

 private:
  // Rows of one class with their prepared activations, by arithmetic.
  struct Block {
    int64_t first;  // row
    int64_t rows;
    RowClass row_class;
    std::byte* activations[kArithmetics];
  };

  void cut_into_blocks(const RunContext& context) noexcept;
  void add_block(const RowRun& run, const RunContext& context, int64_t* used) noexcept;
  void prepare(const RunContext& context) const noexcept;
  // Rows [first, end) of a block and one tile, gathered if they are an embedding's, into memory for a
  // tile of normed ones.
  void norm_rows(const Block& block, int64_t first, int64_t end, std::byte* memory) const noexcept;
  // Such rows for all arithmetics; `x` is the first.
  void prepare_rows(const Block& block, int64_t first, int64_t end, const float* x) const noexcept;
  void multiply(const RunContext& context) const noexcept;
  int64_t row_parts(int64_t rows, int threads) const noexcept;
  // Tasks are stripes: of all matrices in turn, or of gate and up at once.
  void run_stripes(int64_t begin, int64_t end, int64_t part, int64_t parts,
                   std::byte* workspace) const noexcept;
  void run_gated_stripes(int64_t begin, int64_t end, int64_t part, int64_t parts,
                         std::byte* workspace) const noexcept;
  void multiply_stripes(const LinearMatrix& matrix, int64_t begin, int64_t end, const Block& block,
                        int64_t row_begin, int64_t row_end, std::byte* workspace) const noexcept;

  LinearSettings settings_;
  bool needed_[2][kArithmetics] = {};  // by RowClass and Arithmetic: some matrix multiplies in it
  bool one_class_ = false;             // both classes use the same arithmetic everywhere
  int64_t stripes_ = 0;                // tasks of one row part
  int64_t bytes_ = 0;                  // of all weights
  int64_t scratch_bytes_ = 0;
  std::vector<Block> blocks_;
};

}  // namespace dunlin::cpu
