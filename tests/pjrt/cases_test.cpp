// Every operation case on a PJRT device against the reference.
#include <gtest/gtest.h>

#include "backend/reference/reference.h"
#include "case_runner.h"
#include "operation_cases.h"
#include "pjrt_device.h"

// What LeakSanitizer leaves out here, and in no other test of the back end: for some programs XLA's
// parser keeps about a hundred bytes.
extern "C" const char* __lsan_default_suppressions() {
  return "leak:xla_cpu_pjrt.so\n";
}

namespace dunlin {
namespace {

CaseResult run_or_fail(Backend& backend, const OperationCase& operation_case, Precision precision,
                       const CaseVariation& variation) {
  auto result = run_case(backend, operation_case, precision, variation);
  EXPECT_TRUE(result.ok()) << (result.ok() ? "" : result.error().message);
  return result.ok() ? std::move(result).value() : CaseResult{};
}

class PjrtCases : public testing::TestWithParam<size_t> {
 protected:
  const OperationCase& operation_case() const { return operation_cases()[GetParam()]; }

  void compare(Precision precision, const CaseVariation& variation, float allowed) {
    const auto reference = make_reference_backend();
    const CaseResult expected =
        run_or_fail(*reference, operation_case(), precision, {.slots = true});
    const CaseResult actual =
        run_or_fail(pjrt::test_backend(), operation_case(), precision, variation);
    EXPECT_EQ(first_distance(actual, expected, allowed), "") << precision_name(precision);
  }
};

TEST_P(PjrtCases, AgreesInFloat32) {
  DUNLIN_NEEDS_PLUGIN();
  compare(Precision::f32, {.slots = true}, pjrt::tolerance().f32);
}

// Each definition is lowered too, for the exact sizes of each step.
class SlowPjrtCases : public PjrtCases {};

TEST_P(SlowPjrtCases, TheDefinitionAgrees) {
  DUNLIN_NEEDS_PLUGIN();
  compare(Precision::f32, {.expanded = true, .slots = true}, pjrt::tolerance().f32);
}

// Cases with something to round: weights that are not float32, or a KV cache. Not whole models with
// a router: what rounds otherwise may choose another expert (`experts` alone is among the cases).
class RoundingCases : public PjrtCases {};

TEST_P(RoundingCases, AgreesInBfloat16) {
  DUNLIN_NEEDS_PLUGIN();
  compare(Precision::exact, {.slots = true}, pjrt::tolerance().bf16);
}

std::vector<size_t> rounding_cases() {
  std::vector<size_t> numbers;
  for (size_t i = 0; i < operation_cases().size(); ++i) {
    const OperationCase& it = operation_cases()[i];
    const bool routes = it.name.starts_with("block_gpt_oss");
    const bool attends = it.name.starts_with("attention_") || it.name.starts_with("block_");
    if (!routes && (it.format != Format::f32 || attends)) numbers.push_back(i);
  }
  return numbers;
}

const auto case_name = [](const auto& parameter) {
  return operation_cases()[parameter.param].name;
};
const auto kAllCases = testing::Range<size_t>(0, operation_cases().size());
INSTANTIATE_TEST_SUITE_P(All, PjrtCases, kAllCases, case_name);
INSTANTIATE_TEST_SUITE_P(All, SlowPjrtCases, kAllCases, case_name);
INSTANTIATE_TEST_SUITE_P(All, RoundingCases, testing::ValuesIn(rounding_cases()), case_name);

}  // namespace
}  // namespace dunlin
