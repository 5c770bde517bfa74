// Properties of every operation case on the reference: the definition computes the same function,
// and chunking, neighbours in the batch and page placement do not change a bit.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <tuple>

#include "backend/reference/reference.h"
#include "case_runner.h"
#include "operation_cases.h"

namespace dunlin {
namespace {

CaseResult run_or_fail(const OperationCase& operation_case, Precision precision,
                       const CaseVariation& variation = {},
                       std::optional<KvType> kv_type = std::nullopt) {
  const auto backend = make_reference_backend();
  auto result = run_case(*backend, operation_case, precision, variation, kv_type);
  EXPECT_TRUE(result.ok()) << (result.ok() ? "" : result.error().message);
  return result.ok() ? std::move(result).value() : CaseResult{};
}

class ReferenceCases : public testing::TestWithParam<size_t> {
 protected:
  const OperationCase& operation_case() const { return operation_cases()[GetParam()]; }
};

TEST_P(ReferenceCases, DefinitionGivesTheSameValues) {
  const CaseResult direct = run_or_fail(operation_case(), Precision::f32);
  const CaseResult expanded =
      run_or_fail(operation_case(), Precision::f32, {.page_placement = 0, .expanded = true});
  ASSERT_FALSE(direct.empty());
  EXPECT_EQ(first_distance(expanded, direct, 1e-5f), "");
}

class StatefulCases : public ReferenceCases {};

TEST_P(StatefulCases, PagePlacementDoesNotChangeABit) {
  for (const Precision precision : operation_case().precisions) {
    const CaseResult first = run_or_fail(operation_case(), precision, {.page_placement = 1});
    const CaseResult second = run_or_fail(operation_case(), precision, {.page_placement = 99});
    EXPECT_EQ(first_difference(first, second), "") << precision_name(precision);
  }
  const auto int8 = [this](uint64_t placement) {
    return run_or_fail(operation_case(), Precision::automatic, {.page_placement = placement},
                       KvType::int8);
  };
  EXPECT_EQ(first_difference(int8(1), int8(99)), "");
}

TEST_P(ReferenceCases, OutputsAreFiniteAndNotAllAlike) {
  for (const Precision precision : operation_case().precisions) {
    bool varied = false;
    for (const auto& step : run_or_fail(operation_case(), precision)) {
      for (const CaseValue& value : step) {
        const auto width = static_cast<size_t>(dtype_bytes(value.dtype));
        for (int64_t i = 0; i < value.size(); ++i) {
          const bool number = value.dtype != DType::f32 || !operation_case().finite ||
                              std::isfinite(value.f32()[i]);
          ASSERT_TRUE(number) << value.name << " element " << i;
          const auto at = value.bytes.begin() + i * static_cast<int64_t>(width);
          varied = varied || !std::equal(at, at + width, value.bytes.begin());
        }
      }
    }
    EXPECT_TRUE(varied) << precision_name(precision);
  }
}

std::string name_of_case(const testing::TestParamInfo<size_t>& parameter) {
  return operation_cases()[parameter.param].name;
}

std::vector<size_t> stateful_cases() {
  std::vector<size_t> numbers;
  for (size_t i = 0; i < operation_cases().size(); ++i) {
    const auto prepared = prepare_case(operation_cases()[i]);
    if (prepared.ok() && !prepared->program.kv_groups.empty()) numbers.push_back(i);
  }
  return numbers;
}

INSTANTIATE_TEST_SUITE_P(All, ReferenceCases, testing::Range<size_t>(0, operation_cases().size()),
                         name_of_case);
INSTANTIATE_TEST_SUITE_P(All, StatefulCases, testing::ValuesIn(stateful_cases()), name_of_case);

TEST(OperationCases, NamesAreUniqueAndEveryOperationIsThere) {
  std::set<std::string> names;
  std::set<Op> used;
  for (const OperationCase& operation_case : operation_cases()) {
    EXPECT_TRUE(names.insert(operation_case.name).second) << operation_case.name;
    const auto prepared = prepare_case(operation_case);
    ASSERT_TRUE(prepared.ok()) << prepared.error().message;
    for (const Node& node : prepared->program.nodes) used.insert(node.op);
  }
  EXPECT_GE(names.size(), 60u);
  for (int op = 0; op <= static_cast<int>(Op::state_read); ++op) {
    EXPECT_TRUE(used.contains(static_cast<Op>(op))) << op_name(static_cast<Op>(op));
  }
}

// The rows of output "result" by (sequence, position); a position computed twice keeps its last.
using RowsByPlace = std::map<std::pair<int32_t, int32_t>, std::vector<std::byte>>;

RowsByPlace rows_by_place(const OperationCase& operation_case, Precision precision,
                          std::optional<KvType> kv_type = std::nullopt) {
  const auto backend = make_reference_backend();
  const auto prepared = prepare_case(operation_case);
  EXPECT_TRUE(prepared.ok());
  const auto result = run_prepared(*backend, *prepared, precision, "", 1, kv_type);
  EXPECT_TRUE(result.ok());
  RowsByPlace rows;
  for (size_t step = 0; step < operation_case.steps.size(); ++step) {
    const StepPlan& plan = prepared->plans[step];
    const CaseValue& value = (*result)[step].front();
    const size_t width = value.bytes.size() / plan.tokens.size();
    size_t row = 0;
    for (const CaseSegment& segment : operation_case.steps[step].segments) {
      for (const int32_t sequence : segment.sequences) {
        for (int32_t i = 0; i < segment.rows_each; ++i, ++row) {
          const auto* first = value.bytes.data() + row * width;
          rows[{sequence, plan.positions[row]}].assign(first, first + width);
        }
      }
    }
  }
  return rows;
}

OperationCase with_steps(const std::string& name, std::vector<CaseStep> steps) {
  OperationCase result = operation_case(name);
  result.steps = std::move(steps);
  return result;
}

struct CacheProfile {
  Precision precision;
  std::optional<KvType> kv_type = std::nullopt;
};

class Invariance : public testing::TestWithParam<std::tuple<std::string, CacheProfile>> {
 protected:
  RowsByPlace rows(std::vector<CaseStep> steps) const {
    const auto& [name, profile] = GetParam();
    return rows_by_place(with_steps(name, std::move(steps)), profile.precision, profile.kv_type);
  }
};

std::vector<CaseStep> chunks_of_sequence_0(const std::vector<int32_t>& sizes) {
  std::vector<CaseStep> steps;
  for (const int32_t size : sizes) steps.push_back({{{RowClass::prompt, size, {0}}}});
  return steps;
}

TEST_P(Invariance, ChunksOfAPromptDoNotChangeABit) {
  const RowsByPlace whole = rows(chunks_of_sequence_0({300}));
  EXPECT_EQ(rows(chunks_of_sequence_0({7, 9, 240, 1, 43})), whole);
  EXPECT_EQ(rows(chunks_of_sequence_0({256, 44})), whole);
  const RowsByPlace start = rows(chunks_of_sequence_0({33}));
  EXPECT_EQ(rows(chunks_of_sequence_0(std::vector<int32_t>(33, 1))), start);
  EXPECT_EQ(rows(chunks_of_sequence_0({16, 17})), start);
}

TEST_P(Invariance, OtherSequencesDoNotChangeABit) {
  const CaseStep prompt{{{RowClass::prompt, 20, {0}}}};
  const CaseStep token{{{RowClass::generated, 1, {0}}}};
  const RowsByPlace alone = rows({prompt, token, token});
  const RowsByPlace together =
      rows({{{{RowClass::prompt, 20, {3, 0, 4}}}},
            {{{RowClass::generated, 1, {3, 4, 0}}, {RowClass::prompt, 31, {5}}}},
            {{{RowClass::generated, 1, {5, 0}}, {RowClass::generated, 3, {3}}}}});
  for (const auto& [place, row] : alone) EXPECT_EQ(together.at(place), row) << place.second;
}

std::string invariance_name(
    const testing::TestParamInfo<std::tuple<std::string, CacheProfile>>& parameter) {
  const CacheProfile& profile = std::get<1>(parameter.param);
  std::string name = std::get<0>(parameter.param) + "_" + precision_name(profile.precision);
  if (profile.kv_type.has_value()) name += std::string("_kv_") + kv_type_name(*profile.kv_type);
  return name;
}

INSTANTIATE_TEST_SUITE_P(
    Causal, Invariance,
    testing::Combine(testing::Values("attention_9_3_heads_64", "attention_window_20",
                                     "attention_sinks", "attention_softcap", "attend_layer_BF16",
                                     "attend_layer_Q8_0"),
                     testing::Values(CacheProfile{Precision::f32},
                                     CacheProfile{Precision::automatic},
                                     CacheProfile{Precision::exact},
                                     CacheProfile{Precision::automatic, KvType::int8})),
    invariance_name);

// The rows of one step alone see each other as they would through the cache.
TEST(StatelessAttention, RoundsKeysAndValuesAsTheCacheDoes) {
  const std::vector<CaseStep> steps = chunks_of_sequence_0({40});
  OperationCase stateful = with_steps("attention_9_3_heads_64", steps);
  OperationCase stateless = stateful;
  stateless.stateful = false;
  const auto cached = rows_by_place(stateful, Precision::automatic, KvType::int8);
  EXPECT_EQ(rows_by_place(stateless, Precision::automatic, KvType::int8), cached);
  EXPECT_NE(rows_by_place(stateful, Precision::automatic), cached);
}

TEST(RowClasses, GeneratedRowsUseInt8OnlyUnderAuto) {
  const auto run = [](RowClass row_class, Precision precision) {
    const OperationCase linear =
        with_steps("linear_Q8_0", {{{{row_class, 2, {0}}, {RowClass::prompt, 1, {1}}}}});
    return rows_by_place(linear, precision);
  };
  const RowsByPlace prompt = run(RowClass::prompt, Precision::automatic);
  const RowsByPlace generated = run(RowClass::generated, Precision::automatic);
  const std::pair<int32_t, int32_t> of_first{0, 0};
  const std::pair<int32_t, int32_t> of_second{1, 0};
  EXPECT_NE(prompt.at(of_first), generated.at(of_first));
  EXPECT_EQ(prompt.at(of_second), generated.at(of_second));
  EXPECT_EQ(run(RowClass::prompt, Precision::exact), run(RowClass::generated, Precision::exact));
  EXPECT_EQ(run(RowClass::prompt, Precision::exact), prompt);
}

}  // namespace
}  // namespace dunlin
