// The step of `attention` where `gqa` is disabled: the keys and values of a kv head are copied for each
// of its query heads, and every query head then attends on its own, as if the model had as many kv
// heads as query heads. The bits are those of AttentionStep: what a query sums does not depend on
// the queries beside it (docs/decisions/0002-numerics.md).
//
// Sequences run one after the other, so the copies are those of one sequence at the full context.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "backend/cpu/attention_rows.h"
#include "backend/cpu/bound_step.h"

namespace dunlin::cpu {

class RepeatedAttentionStep final : public BoundStep {
 public:
  // More query heads than kv heads.
  explicit RepeatedAttentionStep(AttentionSettings settings);
  void run(const RunContext& context) noexcept override;
  std::optional<StepWork> work(const RunContext& context) const noexcept override {
    return attention_work(settings_, context);
  }
  int64_t scratch_bytes() const override;
  int64_t workspace_bytes() const override {
    return attention_workspace_bytes(settings_.kv_type, settings_.head_dim);
  }
  bool is_attention() const override { return true; }
  std::vector<std::pair<std::string, std::string>> kernels() const override;

 private:
  void find_pages(const RunContext& context, int64_t sequence) noexcept;
  void copy_pages(const RunContext& context, int64_t sequence) const noexcept;
  void attend(const RunContext& context, int64_t sequence) const noexcept;
  void attend_head(const RunContext& context, int64_t sequence, int64_t row_begin, int64_t row_end,
                   int64_t head, int worker) const noexcept;
  // The copies for a query head, page by page.
  std::byte* copies(const RunContext& context, int64_t head) const noexcept;

  AttentionSettings settings_;
  int64_t block_bytes_;            // a page of one head
  std::vector<int32_t> page_ids_;  // by page of the context: its copy's number, or -1: none is read
  int64_t first_page_ = 0;         // of the sequence that runs: pages that some row may see
  int64_t end_page_ = 0;
};

}  // namespace dunlin::cpu
