#include "parity/kinds.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <utility>

namespace dunlin {
namespace {

constexpr std::string_view kOther = "other";

constexpr std::array<std::string_view, 8> kKinds = {"embedding", "norms",  "projections", "router",
                                                    "residual",  "logits", "tokens",      kOther};

struct NamedKind {
  std::string_view name;  // up to the first point
  std::string_view kind;
};
constexpr NamedKind kNames[] = {
    {"norm1", "norms"},          {"norm2", "norms"},       {"final_norm", "norms"},
    {"q", "projections"},        {"k", "projections"},     {"v", "projections"},
    {"attn_out", "projections"}, {"gate", "projections"},  {"up", "projections"},
    {"mlp_out", "projections"},  {"router_idx", "router"}, {"router_w", "router"},
    {"hidden", "residual"},      {"logits", "logits"},     {"greedy_logits", "logits"},
    {"greedy_ids", "tokens"},    {"diff", "tokens"},       {"fast", "tokens"}};

}  // namespace

std::string_view parity_kind(std::string_view name) {
  if (name == "hidden.0") return "embedding";
  const std::string_view stem = name.substr(0, name.find('.'));
  const auto* const found = std::ranges::find(kNames, stem, &NamedKind::name);
  return found == std::end(kNames) ? kOther : found->kind;
}

std::vector<KindSummary> summarize_kinds(const std::vector<ParityRow>& rows) {
  std::vector<KindSummary> summaries;
  for (const std::string_view kind : kKinds) {
    KindSummary summary{.kind = std::string(kind)};
    for (const ParityRow& row : rows) {
      if (parity_kind(row.name) != kind) continue;
      ++summary.checked;
      if (row.pass) ++summary.passed;
      summary.max_abs_diff = std::max(summary.max_abs_diff, row.max_abs_diff);
    }
    if (summary.checked > 0) summaries.push_back(std::move(summary));
  }
  return summaries;
}

}  // namespace dunlin
