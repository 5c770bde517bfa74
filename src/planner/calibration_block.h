// Transformer blocks that calibration times: Llama-like layers with zero weights, whose time does not depend
// on values.
#pragma once

#include <cstdint>
#include <memory>

#include "backend/api.h"
#include "formats/format.h"
#include "program/program.h"

namespace dunlin {

struct BlockSizes {
  int64_t layers = 1;
  int64_t width = 0;
  int64_t ffn = 0;
  int64_t heads = 0;
  int64_t kv_heads = 0;
  int64_t head_dim = 0;

  // As the planner counts them (planner/walk.h, planner/roofline.h).
  double weights() const;   // of matrices: half the operations of a row
  double elements() const;  // of a row, into and out of matrices
  double steps() const { return static_cast<double>(10 * layers); }
  double queries() const { return static_cast<double>(layers * heads * head_dim); }
  double scores() const { return static_cast<double>(layers * heads); }  // of a row and position
  double kv_bytes() const;  // of a position, keys and values in bf16
};

// The layers and no head: seven matrices, attention and two norms each.
Result<Program> record_block(const BlockSizes& sizes);

// A compiled block and its cache, run step by step.
class CalibrationBlock {
 public:
  static constexpr int64_t kPromptRows = 512;
  static constexpr int64_t kGeneratedRows = 64;  // enough that arithmetic decides

  // Matrices in `format`, the rest in float32. Errors: of compile().
  static Result<CalibrationBlock> create(Backend& backend, const BlockSizes& sizes, Format format,
                                         int64_t context, int threads);

  // Seconds of a step of one sequence: `rows` after `cached` positions, at most kPromptRows and the context.
  double step(int64_t rows, int64_t cached, RowClass row_class);
  // Writes all positions of the cache. What was never written is one page of zeros to the system, which the
  // processor's caches hold.
  void fill();

  double weight_bytes() const { return weight_bytes_; }  // of matrices
  const Executable& executable() const { return *executable_; }

 private:
  std::unique_ptr<Executable> executable_;
  std::unique_ptr<KvState> kv_;
  double weight_bytes_ = 0;
  StepPlan plan_;
  StepOutput output_;
};

}  // namespace dunlin
