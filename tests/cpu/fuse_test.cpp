// Each rewrite where it fires and where it must not.
#include "backend/cpu/fuse.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "program/ops.h"
#include "program/recorder.h"
#include "tiny_model.h"

namespace dunlin::cpu {
namespace {

using testing::ElementsAre;

constexpr int64_t kWidth = 32;
constexpr int64_t kFfn = 64;

// A Program over x = embed(tokens), [T,32].
Program record_over_x(const std::function<Tensor(Recorder&, Tensor)>& forward,
                      const std::vector<std::string>& taps = {}) {
  Result<Program> program = record("test", {.taps = taps}, [&](Recorder& recorder) {
    const Tensor table =
        recorder.weights().matrix("table", {{Axis::vocab, 10}}, {{Axis::embed, kWidth}});
    recorder.output("y", forward(recorder, embed(recorder.tokens(), table)));
  });
  return std::move(program).value();
}

Tensor matrix(Recorder& recorder, const std::string& name, int64_t rows, int64_t columns) {
  return recorder.weights().matrix(name, {{Axis::ffn, rows}}, {{Axis::embed, columns}});
}

// Operation and rewrites of each step: "linear: residual_add".
std::vector<std::string> steps_of(const Program& program,
                                  const std::vector<std::string>& disabled = {}) {
  std::vector<std::string> names;
  for (const FusedStep& step : fuse(program, disabled)) {
    std::string name = op_name(program.nodes[static_cast<size_t>(step.node)].op);
    for (const char* rewrite : step.rewrites()) name += std::string(" ") + rewrite;
    names.push_back(name);
  }
  return names;
}

TEST(ResidualAdd, EndsTheLinearThatFeedsIt) {
  const auto forward = [](Recorder& recorder, Tensor x) {
    return x + linear(x, matrix(recorder, "w", kWidth, kWidth));
  };
  EXPECT_THAT(steps_of(record_over_x(forward)), ElementsAre("embed", "linear residual_add"));
}

TEST(ResidualAdd, AlsoWhenTheLinearIsTheFirstOperand) {
  const auto forward = [](Recorder& recorder, Tensor x) {
    return linear(x, matrix(recorder, "w", kWidth, kWidth)) + x;
  };
  EXPECT_THAT(steps_of(record_over_x(forward)), ElementsAre("embed", "linear residual_add"));
}

TEST(ResidualAdd, LeavesASumThatATapAsksFor) {
  const auto forward = [](Recorder& recorder, Tensor x) {
    return x + tap(linear(x, matrix(recorder, "w", kWidth, kWidth)), "sum");
  };
  EXPECT_THAT(steps_of(record_over_x(forward)), ElementsAre("embed", "linear residual_add"));
  EXPECT_THAT(steps_of(record_over_x(forward, {"sum"})), ElementsAre("embed", "linear", "add"));
}

TEST(ResidualAdd, LeavesASumThatIsReadTwice) {
  const auto forward = [](Recorder& recorder, Tensor x) {
    const Tensor sum = linear(x, matrix(recorder, "w", kWidth, kWidth));
    return (x + sum) * sum;
  };
  EXPECT_THAT(steps_of(record_over_x(forward)), ElementsAre("embed", "linear", "add", "mul"));
}

TEST(ResidualAdd, LeavesARepeatedRow) {
  const auto forward = [](Recorder& recorder, Tensor x) {
    const Tensor row = recorder.weights().vector("row", {{Axis::embed, kWidth}});
    return linear(x, matrix(recorder, "w", kWidth, kWidth)) + row;
  };
  EXPECT_THAT(steps_of(record_over_x(forward)), ElementsAre("embed", "linear", "add"));
}

TEST(SharedInput, JoinsLinearsOfOneX) {
  const auto forward = [](Recorder& recorder, Tensor x) {
    const Tensor a = linear(x, matrix(recorder, "a", kWidth, kWidth));
    const Tensor b = linear(x, matrix(recorder, "b", kWidth, kWidth));
    return act(a, ActAttributes::Kind::silu) * act(b, ActAttributes::Kind::silu);
  };
  const Program program = record_over_x(forward);
  EXPECT_THAT(steps_of(program), ElementsAre("embed", "linear shared_input", "act", "act", "mul"));
  EXPECT_EQ(fuse(program)[1].linears.size(), 2u);
}

TEST(SharedInput, LeavesLinearsOfDifferentX) {
  const auto forward = [](Recorder& recorder, Tensor x) {
    const Tensor a = linear(x, matrix(recorder, "a", kWidth, kWidth));
    return linear(a, matrix(recorder, "b", kWidth, kWidth));
  };
  EXPECT_THAT(steps_of(record_over_x(forward)), ElementsAre("embed", "linear", "linear"));
}

TEST(SharedInput, LeavesALinearThatEndsInALaterResidual) {
  const auto forward = [](Recorder& recorder, Tensor x) {
    const Tensor a = linear(x, matrix(recorder, "a", kWidth, kWidth));
    const Tensor b = linear(x, matrix(recorder, "b", kWidth, kWidth));
    return act(a, ActAttributes::Kind::silu) + b;
  };
  EXPECT_THAT(steps_of(record_over_x(forward)),
              ElementsAre("embed", "linear", "act", "linear residual_add"));
}

Tensor feed_forward(Recorder& recorder, Tensor x) {
  const Tensor gate = tap(linear(x, matrix(recorder, "gate", kFfn, kWidth)), "gate");
  const Tensor up = tap(linear(x, matrix(recorder, "up", kFfn, kWidth)), "up");
  return gated(gate, up, {});
}

TEST(GatedLinears, RunsTheActivationBehindGateAndUp) {
  const Program program = record_over_x(feed_forward);
  EXPECT_THAT(steps_of(program), ElementsAre("embed", "linear shared_input gated_linears"));
}

TEST(GatedLinears, TakesTheGateFirstWhereUpIsRecordedFirst) {
  const auto forward = [](Recorder& recorder, Tensor x) {
    const Tensor up = linear(x, matrix(recorder, "up", kFfn, kWidth));
    const Tensor gate = linear(x, matrix(recorder, "gate", kFfn, kWidth));
    return gated(gate, up, {});
  };
  const Program program = record_over_x(forward);
  const FusedStep step = fuse(program)[1];
  ASSERT_NE(step.gated, kNoNode);
  const auto weight_of = [&](const LinearPart& part) {
    const Node& node = program.nodes[static_cast<size_t>(part.linear)];
    const Value& value = program.values[static_cast<size_t>(node.operands[1])];
    return program.weights[static_cast<size_t>(value.weight)].name;
  };
  EXPECT_EQ(weight_of(step.linears[0]), "gate");
  EXPECT_EQ(weight_of(step.linears[1]), "up");
}

TEST(GatedLinears, LeavesAGateThatATapAsksFor) {
  for (const char* name : {"gate", "up"}) {
    EXPECT_THAT(steps_of(record_over_x(feed_forward, {name})),
                ElementsAre("embed", "linear shared_input", "gated"))
        << name;
  }
}

TEST(GatedLinears, LeavesAThirdLinearOfTheSameX) {
  const auto forward = [](Recorder& recorder, Tensor x) {
    const Tensor third = linear(x, matrix(recorder, "third", kFfn, kWidth));
    return feed_forward(recorder, x) * third;
  };
  EXPECT_THAT(steps_of(record_over_x(forward)),
              ElementsAre("embed", "linear shared_input", "gated", "mul"));
}

Tensor normed(Recorder& recorder, Tensor x) {
  return tap(rms_norm(x, recorder.weights().vector("norm", {{Axis::embed, kWidth}}), {}), "norm");
}

TEST(InputNorm, IsWithTheLinearThatReadsIt) {
  const auto forward = [](Recorder& recorder, Tensor x) {
    return linear(normed(recorder, x), matrix(recorder, "w", kWidth, kWidth));
  };
  const Program program = record_over_x(forward);
  EXPECT_THAT(steps_of(program), ElementsAre("linear input_norm embed_norm"));
  EXPECT_EQ(program.nodes[static_cast<size_t>(fuse(program)[0].norm)].op, Op::rms_norm);
}

TEST(InputNorm, IsWithAllLinearsOfAStep) {
  const Program program = record_over_x([](Recorder& recorder, Tensor x) {
    return linear(feed_forward(recorder, normed(recorder, x)),
                  matrix(recorder, "down", kWidth, kFfn)) +
           x;
  });
  EXPECT_THAT(steps_of(program),
              ElementsAre("linear shared_input gated_linears input_norm embed_norm",
                          "linear residual_add"));
}

TEST(InputNorm, LeavesANormThatATapAsksFor) {
  const auto forward = [](Recorder& recorder, Tensor x) {
    return linear(normed(recorder, x), matrix(recorder, "w", kWidth, kWidth));
  };
  EXPECT_THAT(steps_of(record_over_x(forward, {"norm"})),
              ElementsAre("embed", "rms_norm", "linear"));
}

TEST(InputNorm, LeavesANormThatOthersRead) {
  const auto forward = [](Recorder& recorder, Tensor x) {
    const Tensor norm = normed(recorder, x);
    return linear(norm, matrix(recorder, "w", kWidth, kWidth)) + norm;
  };
  EXPECT_THAT(steps_of(record_over_x(forward)),
              ElementsAre("embed", "rms_norm", "linear residual_add"));
}

// Without shared_input they run one by one.
TEST(InputNorm, LeavesANormOfLinearsThatRunApart) {
  const auto forward = [](Recorder& recorder, Tensor x) {
    return feed_forward(recorder, normed(recorder, x));
  };
  const std::vector<std::string> disabled = {"shared_input"};
  for (const FusedStep& step : fuse(record_over_x(forward), disabled))
    EXPECT_EQ(step.norm, kNoNode);
}

Tensor normed_linear(Recorder& recorder, Tensor x) {
  return linear(normed(recorder, x), matrix(recorder, "w", kWidth, kWidth));
}

TEST(EmbedNorm, GathersWhatTheLinearNorms) {
  const Program program = record_over_x(normed_linear);
  const std::vector<FusedStep> steps = fuse(program);
  ASSERT_EQ(steps.size(), 1u);
  EXPECT_EQ(program.nodes[static_cast<size_t>(steps[0].embed)].op, Op::embed);
  EXPECT_THAT(steps[0].nodes(), ElementsAre(0, 1, 2));
  EXPECT_THAT(steps_of(program, {"embed_norm"}), ElementsAre("embed", "linear input_norm"));
}

// The step's own addition, another step, and a tap.
TEST(EmbedNorm, AlsoOfRowsThatAreReadLater) {
  const auto in_the_step = [](Recorder& recorder, Tensor x) {
    return x + normed_linear(recorder, x);
  };
  EXPECT_THAT(steps_of(record_over_x(in_the_step)),
              ElementsAre("linear residual_add input_norm embed_norm"));
  const auto behind_it = [](Recorder& recorder, Tensor x) {
    tap(x, "x");
    const Tensor y = normed_linear(recorder, x);
    return act(x, ActAttributes::Kind::silu) * y;
  };
  EXPECT_THAT(steps_of(record_over_x(behind_it, {"x"})),
              ElementsAre("linear input_norm embed_norm", "act", "mul"));
}

TEST(EmbedNorm, LeavesRowsThatAnotherStepReadsBefore) {
  const auto act_before = [](Recorder& recorder, Tensor x) {
    const Tensor gate = act(x, ActAttributes::Kind::silu);
    return gate * normed_linear(recorder, x);
  };
  EXPECT_THAT(steps_of(record_over_x(act_before)),
              ElementsAre("embed", "act", "linear input_norm", "mul"));
  const auto view_before = [](Recorder& recorder, Tensor x) {
    const Tensor heads = reshape(x, {Symbol::rows, 2, kWidth / 2});
    const Tensor twice = reshape(heads + heads, {Symbol::rows, kWidth});
    return twice * normed_linear(recorder, x);
  };
  EXPECT_THAT(steps_of(record_over_x(view_before)),
              ElementsAre("embed", "add", "linear input_norm", "mul"));
  const auto linear_before = [](Recorder& recorder, Tensor x) {
    const Tensor plain = linear(x, matrix(recorder, "plain", kWidth, kWidth));
    return plain * normed_linear(recorder, x);
  };
  EXPECT_THAT(steps_of(record_over_x(linear_before)),
              ElementsAre("embed", "linear", "linear input_norm", "mul"));
}

// The addition where the linear ends is behind a reader that is recorded after the linear.
TEST(EmbedNorm, LeavesRowsThatAreReadBeforeTheLinearsPlace) {
  const auto forward = [](Recorder& recorder, Tensor x) {
    const Tensor y = normed_linear(recorder, x);
    return act(x, ActAttributes::Kind::silu) + y;
  };
  EXPECT_THAT(steps_of(record_over_x(forward)),
              ElementsAre("embed", "act", "linear residual_add input_norm"));
}

TEST(EmbedNorm, GathersOnceForTwoNorms) {
  const auto forward = [](Recorder& recorder, Tensor x) {
    const Tensor first = normed_linear(recorder, x);
    const Tensor factors = recorder.weights().vector("other_norm", {{Axis::embed, kWidth}});
    const Tensor other = rms_norm(x, factors, {});
    return first * linear(other, matrix(recorder, "other", kWidth, kWidth));
  };
  EXPECT_THAT(steps_of(record_over_x(forward)),
              ElementsAre("linear input_norm embed_norm", "linear input_norm", "mul"));
}

// Whoever norms them apart reads them before.
TEST(EmbedNorm, LeavesRowsThatAreNormedApart) {
  const Program program = record_over_x(normed_linear);
  EXPECT_THAT(steps_of(program, {"input_norm"}), ElementsAre("embed", "rms_norm", "linear"));
  EXPECT_THAT(steps_of(record_over_x(normed_linear, {"norm"})),
              ElementsAre("embed", "rms_norm", "linear"));
}

TEST(EmbedNorm, LeavesRowsThatAreNoEmbedding) {
  const auto forward = [](Recorder& recorder, Tensor x) { return normed_linear(recorder, x + x); };
  EXPECT_THAT(steps_of(record_over_x(forward)), ElementsAre("embed", "add", "linear input_norm"));
}

std::vector<std::string> attention_steps(const std::vector<std::string>& taps, bool stateful) {
  Result<Program> program =
      record("test", {.taps = taps, .stateful = stateful}, [&](Recorder& recorder) {
        const Tensor table =
            recorder.weights().matrix("table", {{Axis::vocab, 10}}, {{Axis::embed, kWidth}});
        const Tensor x = reshape(embed(recorder.tokens(), table), {Symbol::rows, 2, kWidth / 2});
        const Tensor angles =
            rope_angles(recorder.positions(), {.inv_freq = std::vector<float>(kWidth / 4, 0.5f)});
        const Tensor q = tap(rope(x, angles, {.rotary_dim = kWidth / 2}), "q");
        const Tensor k = tap(rope(x, angles, {.rotary_dim = kWidth / 2}), "k");
        const auto place = recorder.kv_layer(0, 2, kWidth / 2);
        recorder.output("y", attention(q, k, x, Tensor(),
                                       {.stateful = recorder.options().stateful,
                                        .group = place.group,
                                        .layer = place.layer}));
      });
  return steps_of(program.value());
}

TEST(RopeAttention, RotatesWithinAttention) {
  EXPECT_THAT(attention_steps({}, true),
              ElementsAre("embed", "rope_angles", "attention rope_attention"));
}

TEST(RopeAttention, LeavesARotationThatATapAsksFor) {
  EXPECT_THAT(attention_steps({"q"}, true),
              ElementsAre("embed", "rope_angles", "rope", "attention rope_attention"));
  EXPECT_THAT(attention_steps({"q", "k"}, true),
              ElementsAre("embed", "rope_angles", "rope", "rope", "attention"));
}

TEST(RopeAttention, LeavesAttentionWithoutACache) {
  EXPECT_THAT(attention_steps({}, false),
              ElementsAre("embed", "rope_angles", "rope", "rope", "attention"));
}

TEST(Views, AreNoSteps) {
  const auto forward = [](Recorder& recorder, Tensor x) {
    const Tensor row = recorder.weights().vector("row", {{Axis::embed, kWidth}});
    const Tensor part = slice(row + row, {.axis = 0, .begin = 4, .end = 20});
    return reshape(reshape(x, {Symbol::rows, 2, 16}) * part, {Symbol::rows, kWidth});
  };
  EXPECT_THAT(steps_of(record_over_x(forward)), ElementsAre("embed", "add", "mul"));
}

TEST(Llama, HasFiveStepsPerLayer) {
  const std::vector<std::string> steps = steps_of(tiny_model("llama", "F32").program);
  std::vector<std::string> layer{
      "linear shared_input input_norm embed_norm", "attention rope_attention",
      "linear residual_add", "linear shared_input gated_linears input_norm", "linear residual_add"};
  std::vector<std::string> expected{"rope_angles"};
  expected.insert(expected.end(), layer.begin(), layer.end());
  layer.front() = "linear shared_input input_norm";
  expected.insert(expected.end(), layer.begin(), layer.end());
  expected.insert(expected.end(), {"gather_rows", "linear input_norm"});
  EXPECT_EQ(steps, expected);
}

}  // namespace
}  // namespace dunlin::cpu
