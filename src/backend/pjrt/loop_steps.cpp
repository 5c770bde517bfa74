#include "backend/pjrt/loop_steps.h"

#include <algorithm>
#include <variant>

#include "backend/pjrt/row_wise.h"

namespace dunlin::pjrt {
namespace {

bool is_causal(const Node& node) {
  const auto* const attention = std::get_if<AttentionAttributes>(&node.attributes);
  return attention == nullptr || (attention->stateful && attention->mask == MaskKind::causal);
}

}  // namespace

int64_t loop_steps(const Program& program, const StepLimits& limits, int64_t wanted) {
  const bool chooses = program.find_output(kCandidateIdsOutput) != nullptr &&
                       program.find_output(kStatisticsOutput) != nullptr;
  if (!chooses || !is_row_wise(program) ||
      !std::ranges::all_of(program.outputs, &Output::is_of_logits) ||
      !std::ranges::all_of(program.nodes, is_causal)) {
    return 1;
  }
  return std::max<int64_t>(1, std::min({wanted, limits.rows, limits.context}));
}

}  // namespace dunlin::pjrt
