// The table as a whole, and what its parts share.
#include "operation_cases.h"

#include "base/check.h"
#include "program/ops.h"

namespace dunlin {

const std::vector<OperationCase>& operation_cases() {
  static const std::vector<OperationCase> all = [] {
    std::vector<OperationCase> cases;
    for (const auto& part :
         {row_operation_cases(), linear_operation_cases(), attention_operation_cases(),
          basic_operation_cases(), block_operation_cases()}) {
      cases.insert(cases.end(), part.begin(), part.end());
    }
    return cases;
  }();
  return all;
}

const OperationCase& operation_case(const std::string& name) {
  for (const OperationCase& candidate : operation_cases()) {
    if (candidate.name == name) return candidate;
  }
  DUNLIN_CHECK(false, "no operation case " + name);
  return operation_cases().front();
}

Tensor case_input(Recorder& recorder, const std::string& name, int64_t width) {
  const WeightScope inputs = recorder.weights().scope("inputs");
  const Tensor table =
      inputs.matrix(name, {{Axis::vocab, kCaseVocabulary}}, {{Axis::embed, width}});
  return embed(recorder.tokens(), table);
}

std::vector<CaseStep> steps_of_rows(const std::vector<int32_t>& rows, RowClass row_class,
                                    int32_t first) {
  std::vector<CaseStep> steps;
  for (size_t i = 0; i < rows.size(); ++i) {
    steps.push_back({{{row_class, rows[i], {first + static_cast<int32_t>(i)}}}});
  }
  return steps;
}

}  // namespace dunlin
