// What runs a node, and the reasons of refusals.
#include "backend/cpu/select.h"

#include <gtest/gtest.h>

#include "program/ops.h"
#include "program/recorder.h"

namespace dunlin::cpu {
namespace {

// The candidates of the last node of a Program over x [T,8].
std::vector<RunnerCandidate> candidates_of(const std::function<Tensor(Tensor)>& operation) {
  Result<Program> program = record("test", {}, [&](Recorder& recorder) {
    const Tensor table =
        recorder.weights().matrix("table", {{Axis::vocab, 10}}, {{Axis::embed, 8}});
    recorder.output("y", operation(embed(recorder.tokens(), table)));
  });
  return runner_candidates(program.value(), program.value().nodes.back());
}

std::string kernel_refusal(const std::function<Tensor(Tensor)>& operation) {
  return candidates_of(operation)[1].refusal;
}

Tensor weight(Tensor x, const std::string& name) {
  return x.recorder().weights().vector(name, {{Axis::embed, 8}});
}

TEST(RunnerCandidates, AreViewThenKernelThenReferenceWhichRefusesNothing) {
  const auto candidates = candidates_of([](Tensor x) { return act(x, ActAttributes::Kind::silu); });
  ASSERT_EQ(candidates.size(), 3u);
  EXPECT_EQ(candidates[0].runner, Runner::view);
  EXPECT_EQ(candidates[0].refusal, "it is not the same elements in the same order");
  EXPECT_EQ(candidates[1].runner, Runner::kernel);
  EXPECT_EQ(candidates[1].refusal, "no kernel is written for it");
  EXPECT_EQ(candidates[2].runner, Runner::reference);
  EXPECT_EQ(candidates[2].refusal, "");
}

TEST(RunnerCandidates, AReshapeIsAViewUnlessOfAWeight) {
  EXPECT_EQ(candidates_of([](Tensor x) { return reshape(x, {Symbol::rows, 2, 4}); })[0].refusal,
            "");
  const auto of_weight = candidates_of([](Tensor x) {
    const Tensor row = reshape(weight(x, "w"), {2, 4});
    return row;
  });
  EXPECT_EQ(of_weight[0].refusal, "a weight is held in packed form");
}

TEST(RunnerCandidates, ElementwiseKernelsRepeatLeadingDimensionsAlone) {
  EXPECT_EQ(kernel_refusal([](Tensor x) { return x + x; }), "");
  EXPECT_EQ(kernel_refusal([](Tensor x) { return x * weight(x, "w"); }), "");
  EXPECT_EQ(kernel_refusal([](Tensor x) {
              const Tensor column = reshape(x, {Symbol::rows, 8, 1});
              const Tensor row = reshape(x, {Symbol::rows, 1, 8});
              return column * row;
            }),
            "an operand is repeated along a dimension that is not a leading one");
}

TEST(RunnerCandidates, AConstantOfAKnownSizeIsNotLeftToTheReference) {
  EXPECT_EQ(kernel_refusal([](Tensor x) { return constant(x.recorder(), {8}, {0.5}, DType::f32); }),
            "");
  EXPECT_EQ(kernel_refusal([](Tensor x) {
              return constant(x.recorder(), {Symbol::rows, 8}, {0.5}, DType::f32);
            }),
            "its size is not known at compile");
}

TEST(LeadingRows, FollowFromOneSymbolInFront) {
  const SymbolSizes sizes{.rows = 7, .logit_rows = 2, .sequences = 3, .slots = 9};
  EXPECT_EQ(leading_rows({Symbol::rows, 4, 16}, 1)->count(sizes), 28);
  EXPECT_EQ(leading_rows({Symbol::rows, 4, 16}, 1)->symbol, Symbol::rows);
  EXPECT_EQ(leading_rows({1, Symbol::logit_rows, 16}, 1)->count(sizes), 2);
  EXPECT_EQ(leading_rows({5, 16}, 1)->count(sizes), 5);
  EXPECT_EQ(leading_rows({16}, 1)->count(sizes), 1);
  EXPECT_FALSE(leading_rows({4, Symbol::rows, 16}, 1));
  EXPECT_FALSE(leading_rows({Symbol::sequences, Symbol::rows, 16}, 1));
  EXPECT_FALSE(leading_rows({Symbol::slots, 16}, 1));
}

}  // namespace
}  // namespace dunlin::cpu
