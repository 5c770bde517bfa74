// Every case of the operation table on the CPU back end: the bits of the reference, on every
// instruction set of this machine and with 1, 2 and 4 threads.
#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <map>
#include <string>

#include "backend/cpu/cpu_backend.h"
#include "backend/cpu/isa.h"
#include "backend/reference/reference.h"
#include "case_runner.h"

namespace dunlin {
namespace {

class OperationTable : public testing::TestWithParam<std::string> {};

std::vector<std::string> case_names() {
  std::vector<std::string> names;
  for (const OperationCase& operation_case : operation_cases()) {
    names.push_back(operation_case.name);
  }
  return names;
}

void expect_the_bits_of_the_reference(const PreparedCase& prepared, Precision precision,
                                      KvType kv_type) {
  const auto cpu = make_cpu_backend();
  const auto reference = make_reference_backend();
  const Result<CaseResult> expected = run_prepared(*reference, prepared, precision, "", 1, kv_type);
  ASSERT_TRUE(expected.ok()) << expected.error().message;
  for (const cpu::IsaCandidate& candidate : cpu::isa_candidates(cpu_features())) {
    if (!candidate.refusal.empty()) continue;
    for (const int threads : {1, 2, 4}) {
      const std::string isa = isa_name(candidate.isa);
      const Result<CaseResult> actual =
          run_prepared(*cpu, prepared, precision, isa, threads, kv_type);
      ASSERT_TRUE(actual.ok()) << actual.error().message;
      EXPECT_EQ(first_difference(*actual, *expected), "")
          << isa << ", " << precision_name(precision) << ", keys and values in "
          << kv_type_name(kv_type) << ", " << threads << " threads";
    }
  }
}

// Whether what the cache holds makes a difference.
bool has_attention(const Program& program) {
  return !program.kv_groups.empty() || std::ranges::any_of(program.nodes, [](const Node& node) {
    return node.op == Op::attention;
  });
}

TEST_P(OperationTable, HasTheBitsOfTheReference) {
  const OperationCase& operation = operation_case(GetParam());
  const Result<PreparedCase> prepared = prepare_case(operation);
  ASSERT_TRUE(prepared.ok()) << prepared.error().message;
  for (const Precision precision : operation.precisions)
    expect_the_bits_of_the_reference(*prepared, precision, default_kv_type(precision));
  if (has_attention(prepared->program))
    expect_the_bits_of_the_reference(*prepared, Precision::automatic, KvType::int8);
}

std::string test_name(const testing::TestParamInfo<std::string>& info) {
  std::string name = info.param;
  std::ranges::replace_if(
      name, [](char c) { return std::isalnum(static_cast<unsigned char>(c)) == 0; }, '_');
  return name;
}

// One for each instruction set, so that a run shows which of them this processor could not check.
class InstructionSet : public testing::TestWithParam<Isa> {};

TEST_P(InstructionSet, RunsTheCasesAbove) {
  const std::string isa = isa_name(GetParam());
  const auto candidates = cpu::isa_candidates(cpu_features());
  const auto candidate = std::ranges::find(candidates, GetParam(), &cpu::IsaCandidate::isa);
  ASSERT_NE(candidate, candidates.end());
  if (!candidate->refusal.empty()) GTEST_SKIP() << isa << ": " << candidate->refusal;
  const auto backend = make_cpu_backend();
  const Result<PreparedCase> prepared = prepare_case(operation_cases().front());
  ASSERT_TRUE(prepared.ok()) << prepared.error().message;
  const auto result =
      run_prepared(*backend, *prepared, operation_cases().front().precisions.front(), isa);
  EXPECT_TRUE(result.ok()) << result.error().message;
}

INSTANTIATE_TEST_SUITE_P(All, InstructionSet, testing::ValuesIn(isas_up_to(kHighestIsa)),
                         [](const auto& info) { return std::string(isa_name(info.param)); });

INSTANTIATE_TEST_SUITE_P(All, OperationTable, testing::ValuesIn(case_names()), test_name);

}  // namespace
}  // namespace dunlin
