// DiffusionDecoder: how logits fill in the masks of one canvas, the prompt and the masks behind it. A
// pure state machine: the engine asks it what to compute, computes it, and hands it the logits.
//
// Without a cache every pass computes the whole canvas, and steps follow the schedule of the
// published diffusion_generate (Dream 7B) or, with confidence_threshold, of Fast-dLLM's
// generation_utils.py; entropy_bound (EB-Sampler, arXiv 2505.24857) has no schedule. With a cache,
// blocks are decided from left to right (Fast-dLLM v1, arXiv 2505.22618, generation_utils_block.py):
// a pass over the whole canvas decides the first token of a block, further passes compute the rows
// from the block on (prefix) or the block alone (dual). With an algorithm other than
// confidence_threshold these follow the schedule by entropy. entropy_bound decides by its bound in all
// of them; the first decides the first token besides.
//
// Differences from the published code: each canvas has its own count of masks; ties go to the lowest
// position; a step that decides nothing makes no pass; the last block may be shorter; where steps do
// not divide masks (confidence_threshold) or blocks do not divide steps, the remainder is not lost.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"
#include "decode/diffusion_params.h"
#include "decode/masked_sampler.h"
#include "sampler/philox.h"
#include "step/step.h"

namespace dunlin {

// The tokens of the canvas at [first, first + rows) attend the whole canvas.
struct DiffusionPass {
  int64_t first = 0;
  int64_t rows = 0;
  RowClass row_class = RowClass::prompt;  // of a pass over the whole canvas
  std::vector<int32_t> logit_rows = {};   // whose logits are wanted, from 0
};

// Which of the positions of a pass it decides.
struct UnmaskSelection {
  enum class Kind : uint8_t { all, surest, threshold, entropy } kind = Kind::all;
  size_t count = 0;        // surest: so many; the last two: at most so many
  bool and_first = false;  // entropy: the first position, too
};

class DiffusionDecoder {
 public:
  // The error (kind usage) names a parameter out of range, and what does not go together: no masks
  // to fill in, or with a cache masks within the prompt or more blocks than steps. `shift_logits`:
  // the logits of row j - 1 predict position j.
  static Result<DiffusionDecoder> create(std::vector<int32_t> prompt, int32_t mask_id,
                                         bool shift_logits, DiffusionParams params);

  // The next pass; null when everything is decided.
  const DiffusionPass* pending() const { return finished_ ? nullptr : &pass_; }
  // The logits of pending(), one view for each of its logit_rows. Errors: logits that are not
  // numbers.
  Result<void> accept(std::span<const LogitsView> logits);

  std::span<const int32_t> canvas() const { return canvas_; }
  int64_t prompt_size() const { return prompt_size_; }
  // What stands behind the prompt, up to the first of end_ids.
  std::span<const int32_t> answer() const;
  int64_t masked() const;  // positions that are not decided yet

  int64_t forward_passes() const { return passes_; }
  // How many positions each step so far has decided; steps without a pass are among them.
  std::span<const int32_t> decided() const { return decided_; }

 private:
  DiffusionDecoder(std::vector<int32_t> prompt, int32_t mask_id, bool shift_logits,
                   DiffusionParams params);

  void plan();
  void plan_schedule();
  void plan_threshold();
  void plan_entropy();
  void plan_blocks();
  bool plan_within_block(int64_t begin, int64_t end, const std::vector<int32_t>& masked);
  void want(int64_t first, int64_t end, std::vector<int32_t> positions);
  void skip_step();
  std::vector<int32_t> masked_within(int64_t begin, int64_t end) const;
  std::vector<int32_t> by_chance(const std::vector<int32_t>& positions, double share) const;
  std::vector<size_t> select(std::span<const float> confidence) const;
  Confidence measure() const;
  float uniform_at(size_t place, RandomPurpose purpose) const;
  int64_t steps_of_block() const;
  bool answer_is_certain() const;
  int64_t size() const { return static_cast<int64_t>(canvas_.size()); }
  bool by_threshold() const {
    return params_.algorithm == DiffusionAlgorithm::confidence_threshold;
  }
  bool by_entropy_bound() const { return params_.algorithm == DiffusionAlgorithm::entropy_bound; }
  // Passes go on until everything is decided, whatever the number of steps.
  bool adaptive() const { return by_threshold() || by_entropy_bound(); }

  std::vector<int32_t> canvas_ = {};
  int64_t prompt_size_ = 0;
  int32_t mask_id_ = 0;
  bool shift_logits_ = true;
  DiffusionParams params_ = {};
  MaskedSampler sampler_ = {};

  DiffusionPass pass_ = {};
  std::vector<int32_t> wanted_ = {};  // positions, ascending: one for each of pass_.logit_rows
  UnmaskSelection selection_ = {};
  bool finished_ = false;
  int64_t step_ = 0;  // those without a pass count
  int64_t passes_ = 0;
  std::vector<int32_t> decided_ = {};
  // Positions for which the model chose the mask itself when nothing else was left.
  std::vector<bool> given_up_ = {};

  // confidence_threshold without a cache.
  int64_t per_step_ = 0;
  int64_t left_ = 0;  // that earlier steps were to decide and did not

  // With a cache.
  int64_t blocks_ = 0, block_ = 0;
  int64_t block_step_ = 0;     // 0: the pass over the whole canvas that opens the block
  int64_t cached_passes_ = 0;  // since the last pass over the whole canvas
};

}  // namespace dunlin
