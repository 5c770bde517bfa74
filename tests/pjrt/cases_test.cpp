// Every operation case on a PJRT device against the reference.
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <string>
#include <tuple>
#include <vector>

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
  // The reference rounds each packed weight to bf16, where a device rounds none; a layer passes on what
  // its products differ by (0.043 in those of Dream).
  const OperationCase& it = operation_case();
  const bool packed_layer = it.name.starts_with("block_") && !traits(it.format).is_plain();
  compare(Precision::exact, {.slots = true}, (packed_layer ? 3 : 1) * pjrt::tolerance().bf16);
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

// What no mesh of these cases can split: blocks of 256 columns that would be cut in two, and the inputs
// of down projections, which are read on one device.
bool is_refused(const OperationCase& it) {
  return it.name == "attend_layer_Q4_K" || it.name.starts_with("experts_hidden_");
}

// On four devices, as 2 x 2 for what models are split by, and as 2 x 2 with experts. Slow as all of
// it is; whole layers are not.
class MeshCases : public testing::TestWithParam<std::tuple<size_t, MeshShape>> {
 protected:
  void compare() {
    const auto& [number, mesh] = GetParam();
    const OperationCase& it = operation_cases()[number];
    const auto reference = make_reference_backend();
    const CaseResult expected = run_or_fail(*reference, it, Precision::f32, {.slots = true});
    const auto actual = run_case(pjrt::test_backend(mesh), it, Precision::f32, {.slots = true});
    if (is_refused(it)) {
      ASSERT_FALSE(actual.ok());
      EXPECT_EQ(actual.error().kind, ErrorKind::usage) << actual.error().message;
      return;
    }
    ASSERT_TRUE(actual.ok()) << actual.error().message;
    EXPECT_EQ(first_distance(*actual, expected, pjrt::tolerance().f32), "");
  }
};

TEST_P(MeshCases, AgreesInFloat32) {
  DUNLIN_NEEDS_CPU_PLUGIN();
  compare();
}

class SlowMeshCases : public MeshCases {};

TEST_P(SlowMeshCases, AgreesInFloat32) {
  DUNLIN_NEEDS_CPU_PLUGIN();
  compare();
}

bool is_layer(const OperationCase& it) {
  return it.name.starts_with("block_") || it.name.starts_with("attend_layer") ||
         it.name == "logits_view" || it.name == "sample";
}

std::vector<size_t> cases_that(const std::function<bool(const OperationCase&)>& are_wanted) {
  std::vector<size_t> numbers;
  for (size_t i = 0; i < operation_cases().size(); ++i) {
    if (are_wanted(operation_cases()[i])) numbers.push_back(i);
  }
  return numbers;
}

const auto mesh_case_name = [](const auto& parameter) {
  std::string mesh = to_string(std::get<1>(parameter.param));
  std::erase(mesh, '=');
  std::ranges::replace(mesh, ',', '_');
  return operation_cases()[std::get<0>(parameter.param)].name + "_" + mesh;
};
constexpr MeshShape kTwoByTwo = {.data = 2, .model = 2};
constexpr MeshShape kOfExperts = {.expert = 2, .model = 2};
INSTANTIATE_TEST_SUITE_P(Layers, MeshCases,
                         testing::Combine(testing::ValuesIn(cases_that(is_layer)),
                                          testing::Values(kTwoByTwo)),
                         mesh_case_name);
INSTANTIATE_TEST_SUITE_P(Others, SlowMeshCases,
                         testing::Combine(testing::ValuesIn(cases_that([](const auto& it) {
                                            return !is_layer(it);
                                          })),
                                          testing::Values(kTwoByTwo)),
                         mesh_case_name);
INSTANTIATE_TEST_SUITE_P(Mixtures, MeshCases,
                         testing::Combine(testing::ValuesIn(cases_that([](const auto& it) {
                                            return it.name.starts_with("block_gpt_oss") ||
                                                   it.name == "experts_4_of_6_F32" ||
                                                   it.name == "experts_4_of_6_MXFP4";
                                          })),
                                          testing::Values(kOfExperts)),
                         mesh_case_name);

const auto case_name = [](const auto& parameter) {
  return operation_cases()[parameter.param].name;
};
const auto kAllCases = testing::Range<size_t>(0, operation_cases().size());
INSTANTIATE_TEST_SUITE_P(All, PjrtCases, kAllCases, case_name);
INSTANTIATE_TEST_SUITE_P(All, SlowPjrtCases, kAllCases, case_name);
INSTANTIATE_TEST_SUITE_P(All, RoundingCases, testing::ValuesIn(rounding_cases()), case_name);

}  // namespace
}  // namespace dunlin
