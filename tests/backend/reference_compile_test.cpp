// compile() and the executable's own facts: weights that do not fit their declaration are errors
// that say which tensor, where, and both shapes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "backend/profile.h"
#include "backend/reference/reference.h"
#include "case_runner.h"
#include "program/ops.h"

namespace dunlin {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::HasSubstr;
using testing::Pair;

Program program_of(const std::function<void(Recorder&)>& forward) {
  auto program = record("small", {}, forward);
  EXPECT_TRUE(program.ok()) << program.error().message;
  return std::move(program).value();
}

Program linear_program() {
  return program_of([](Recorder& r) {
    const Tensor table =
        r.weights().matrix("embed_tokens", {{Axis::vocab, 96}}, {{Axis::embed, 32}});
    const Tensor weight =
        r.weights().matrix("lm_head.weight", {{Axis::vocab, 20}}, {{Axis::embed, 32}});
    r.output(kLogitsOutput, linear(gather_rows(embed(r.tokens(), table), r.logit_rows()), weight));
  });
}

// The weights of a case, with the view of `name` changed.
WeightSource changed(const Program& program, const std::string& name,
                     const std::function<void(WeightView&)>& change) {
  return [=, source = case_weights(program, Format::q8_0)](
             const std::string& wanted) -> Result<WeightView> {
    DUNLIN_ASSIGN_OR_RETURN(WeightView view, source(wanted));
    if (wanted == name) change(view);
    return view;
  };
}

Result<std::unique_ptr<Executable>> compile(const Program& program, const WeightSource& weights,
                                            const CompileOptions& options = {}) {
  return make_reference_backend()->compile(program, weights, options);
}

TEST(ReferenceCompile, NamesTheTensorTheFileAndBothShapes) {
  const Program program = linear_program();
  const auto result = compile(
      program, changed(program, "lm_head.weight", [](WeightView& view) { view.rows = 19; }));
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().kind, ErrorKind::model);
  EXPECT_THAT(result.error().message,
              AllOf(HasSubstr("lm_head.weight"), HasSubstr("random lm_head.weight"),
                    HasSubstr("[20,32]"), HasSubstr("[19,32]")));
}

TEST(ReferenceCompile, FastRefusesColumnsWhoseSumsNeedMoreThan32Bits) {
  for (const int64_t columns : {kMostWideColumns, kMostWideColumns + 1}) {
    const Program program = program_of([columns](Recorder& r) {
      const AxisList width = {{Axis::embed, columns}};
      const Tensor table = r.weights().matrix("embed_tokens", {{Axis::vocab, 2}}, width);
      const Tensor weight = r.weights().matrix("wide.weight", {{Axis::ffn, 3}}, width);
      r.output("result", linear(embed(r.tokens(), table), weight));
    });
    const WeightSource weights = case_weights(program, Format::bf16);
    CompileOptions options;
    EXPECT_TRUE(compile(program, weights, options).ok());
    options.precision = Precision::fast;
    const auto result = compile(program, weights, options);
    EXPECT_EQ(result.ok(), columns == kMostWideColumns);
    if (result.ok()) continue;
    EXPECT_EQ(result.error().kind, ErrorKind::model);
    EXPECT_THAT(result.error().message,
                AllOf(HasSubstr("tensor wide.weight in random wide.weight"),
                      HasSubstr("at most 133144 columns, and it has 133145")));
  }
}

TEST(KeptWeights, AreThoseOfAnEmbeddingOrARouter) {
  const Program tied = program_of([](Recorder& r) {
    const Tensor table =
        r.weights().matrix("embed_tokens", {{Axis::vocab, 96}}, {{Axis::embed, 32}});
    r.output(kLogitsOutput, linear(gather_rows(embed(r.tokens(), table), r.logit_rows()), table));
  });
  EXPECT_THAT(kept_weights(tied), testing::ElementsAre(true));
  EXPECT_THAT(kept_weights(linear_program()), testing::ElementsAre(true, false));
  const Program routed = program_of([](Recorder& r) {
    const AxisList width = {{Axis::embed, 32}};
    const Tensor x =
        embed(r.tokens(), r.weights().matrix("embed_tokens", {{Axis::vocab, 96}}, width));
    const Tensor up = r.weights().matrix("up.weight", {{Axis::embed, 32}}, width);
    const Tensor router = r.weights().matrix("router.weight", {{Axis::experts, 4}}, width);
    r.output("chosen", route(linear(x, up), router, {}, {2}).experts);
  });
  EXPECT_THAT(kept_weights(routed), testing::ElementsAre(true, false, true));
}

TEST(ReferenceCompile, PassesOnAMissingWeight) {
  const WeightSource none = [](const std::string& name) -> Result<WeightView> {
    return model_error("model.gguf: no tensor " + name);
  };
  const auto result = compile(linear_program(), none);
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().message, "model.gguf: no tensor embed_tokens");
}

TEST(ReferenceCompile, PassesOnAFileThatEndsEarly) {
  const Program program = linear_program();
  const auto result = compile(program, changed(program, "lm_head.weight", [](WeightView& view) {
                                view.source =
                                    memory_source(std::vector<std::byte>(10), "short file");
                              }));
  ASSERT_FALSE(result.ok());
  EXPECT_THAT(result.error().message, HasSubstr("short file"));
}

TEST(ReferenceCompile, RefusesAProgramThatIsNotSound) {
  Program program = linear_program();
  program.nodes.front().operands.clear();
  EXPECT_FALSE(compile(program, case_weights(program, Format::f32)).ok());
}

TEST(ReferenceCompile, RefusesAnInstructionSet) {
  const Program program = linear_program();
  CompileOptions options;
  options.isa = "avx2";
  const auto result = compile(program, case_weights(program, Format::f32), options);
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().kind, ErrorKind::usage);
}

TEST(ReferenceCompile, ReadsRowsInCanonicalOrder) {
  // Stored in the order of interleaved rope: the canonical rows of a head of 4 are 0, 2, 1, 3.
  const Program program = linear_program();
  const WeightSource plain = changed(program, "", [](WeightView&) {});
  const WeightSource interleaved =
      changed(program, "lm_head.weight", [](WeightView& view) { view.row_map.rope_head_dim = 4; });
  std::vector<std::vector<float>> logits;
  for (const WeightSource& source : {plain, interleaved}) {
    auto executable = compile(program, source);
    ASSERT_TRUE(executable.ok()) << executable.error().message;
    const auto state = (*executable)->make_kv_state({});
    StepPlan plan;
    plan.segments = {{1, 1, RowClass::prompt}};
    plan.tokens = {3};
    plan.positions = {0};
    plan.logit_rows = {0};
    StepOutput output;
    (*executable)->run(plan, **state, output);
    const std::span<const float> row = output.logits.at(0).row;
    logits.emplace_back(row.begin(), row.end());
  }
  const size_t canonical[] = {0, 2, 1, 3};
  for (size_t i = 0; i < 20; ++i) {
    EXPECT_EQ(logits[1][i], logits[0][i / 4 * 4 + canonical[i % 4]]) << i;
  }
}

TEST(ReferenceCompile, ReportsProgressKernelsAndBytes) {
  const Program program = linear_program();
  CompileOptions options;
  std::map<std::string, double> seen;
  options.progress = [&](double fraction, const std::string& what) { seen[what] = fraction; };
  auto executable = compile(program, case_weights(program, Format::f32), options);
  ASSERT_TRUE(executable.ok());
  EXPECT_EQ(seen["embed_tokens"], 0.0);
  EXPECT_EQ(seen["lm_head.weight"], 0.5);
  EXPECT_EQ(seen[""], 1.0);
  EXPECT_THAT((*executable)->kernels(), Contains(Pair("linear", "linear_reference")));
  EXPECT_EQ((*executable)->isa(), "scalar");
  EXPECT_EQ((*executable)->threads(), 1);
  EXPECT_EQ((*executable)->weights_bytes(), 4u * (96 * 32 + 32 * 32));  // 20 rows in two panels
}

TEST(ReferenceRun, LogitsHaveTheWholeRowAndTheView) {
  const Program program = program_of([](Recorder& r) {
    const Tensor x = case_input(r, "x", 64);
    const Tensor logits = gather_rows(x, r.logit_rows());
    const LogitsViewTensors view = logits_view(logits, r.temperatures(), 5);
    r.output(kLogitsOutput, logits);
    r.output(kStatisticsOutput, view.statistics);
    r.output(kCandidateIdsOutput, view.ids);
    r.output(kCandidateLogitsOutput, view.logits);
    r.output("mine", x);
  });
  auto executable = compile(program, case_weights(program, Format::f32));
  ASSERT_TRUE(executable.ok());
  const auto state = (*executable)->make_kv_state({});
  StepPlan plan;
  plan.segments = {{1, 3, RowClass::prompt}};
  plan.tokens = {3, 4, 5};
  plan.positions = {0, 1, 2};
  plan.logit_rows = {2, 0};
  StepOutput output;
  (*executable)->run(plan, **state, output);
  ASSERT_EQ(output.logits.size(), 2u);
  ASSERT_EQ(output.taps.size(), 1u);
  EXPECT_EQ(output.taps[0].name, "mine");
  const float* rows = output.taps[0].view.f32();
  for (size_t r = 0; r < 2; ++r) {
    const LogitsView& view = output.logits[r];
    ASSERT_EQ(view.row.size(), 64u);
    EXPECT_EQ(view.row[7], rows[plan.logit_rows[r] * 64 + 7]);
    ASSERT_EQ(view.ids.size(), 5u);
    EXPECT_EQ(view.logits[0], view.row[static_cast<size_t>(view.ids[0])]);
    EXPECT_EQ(view.logits[0], *std::max_element(view.row.begin(), view.row.end()));
    EXPECT_GT(view.lse, view.logits[0]);
    EXPECT_GT(view.entropy, 0.0f);
    EXPECT_TRUE(view.finite);
  }
}

TEST(ReferenceRun, IsNotRecordedStepByStep) {
  const Program program = linear_program();
  const auto executable = compile(program, case_weights(program, Format::f32));
  ASSERT_TRUE(executable.ok());
  Profile profile(16);
  const auto recorded = (*executable)->record(&profile);
  ASSERT_FALSE(recorded.ok());
  EXPECT_EQ(recorded.error().kind, ErrorKind::usage);
  EXPECT_THAT(recorded.error().message, HasSubstr("only the back end cpu"));
  EXPECT_TRUE((*executable)->record(nullptr).ok());
}

}  // namespace
}  // namespace dunlin
