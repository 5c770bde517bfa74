// Parity by kind of tensor: how many of the embeddings, norms, projections and so on agree.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "parity/parity.h"

namespace dunlin {

struct KindSummary {
  std::string kind = {};
  int64_t checked = 0;
  int64_t passed = 0;
  double max_abs_diff = 0;  // of all its tensors

  double share() const { return static_cast<double>(passed) / static_cast<double>(checked); }
};

// What a tensor of a reference is, by its name (parity.h and diffusion_parity.h list them):
//   embedding    hidden.0
//   norms        norm1.{i}, norm2.{i}, final_norm
//   projections  q.{i}, k.{i}, v.{i}, attn_out.{i}, gate.{i}, up.{i}, mlp_out.{i}
//   router       router_idx.{i}, router_w.{i}
//   residual     hidden.{i} behind a layer
//   logits       logits, greedy_logits
//   tokens       greedy_ids, diff.*, fast.*
//   other        any other name
std::string_view parity_kind(std::string_view name);

// One for each kind that is among the rows, in the order above.
std::vector<KindSummary> summarize_kinds(const std::vector<ParityRow>& rows);

}  // namespace dunlin
