// What a recording keeps: names, weights, groups, taps and only what is needed.
#include "program/recorder.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "program/glob.h"
#include "program/ops.h"

namespace dunlin {
namespace {

const AxisList kVocab{{Axis::vocab, 16}};
const AxisList kEmbed{{Axis::embed, 8}};

std::vector<std::string> node_names(const Program& program) {
  std::vector<std::string> names;
  for (const Node& node : program.nodes) names.push_back(node.name);
  return names;
}

Tensor embedded_tokens(Recorder& recorder) {
  return embed(recorder.tokens(), recorder.weights().matrix("embed.weight", kVocab, kEmbed));
}

Program recorded(const std::function<void(Recorder&)>& forward, RecordOptions options = {}) {
  return record("test", options, forward).value();
}

std::string error_of(const std::function<void(Recorder&)>& forward, RecordOptions options = {}) {
  const Result<Program> result = record("test", options, forward);
  return result.ok() ? "no error" : result.error().message;
}

TEST(Glob, StarsAndQuestionMarks) {
  EXPECT_TRUE(glob_match("hidden.3", "hidden.3"));
  EXPECT_FALSE(glob_match("hidden.3", "hidden.31"));
  EXPECT_TRUE(glob_match("hidden.*", "hidden.31"));
  EXPECT_FALSE(glob_match("hidden.*", "hidden"));
  EXPECT_TRUE(glob_match("*.3", "attn_out.3"));
  EXPECT_TRUE(glob_match("?.1", "q.1"));
  EXPECT_FALSE(glob_match("?.1", "qk.1"));
  EXPECT_TRUE(glob_match("a*b*c", "aXbYbZc"));
  EXPECT_FALSE(glob_match("a*b*c", "aXbYbZ"));
  EXPECT_TRUE(glob_match("*", ""));
  EXPECT_FALSE(glob_match("", "x"));
}

TEST(Recorder, NamesAreScopesAndLabels) {
  const Program program = recorded([](Recorder& recorder) {
    Tensor x = embedded_tokens(recorder);
    {
      const Scope layer(recorder, "layers", 3);
      const Scope part(recorder, "attend");
      const WeightScope weights = recorder.weights().scope("model").scope("layers").scope(3);
      x = linear(x, weights.matrix("self_attn.q_proj.weight", kEmbed, kEmbed));
      x = linear(x, weights.matrix("sinks", kEmbed, kEmbed));
      x = x + x;
      x = x + x;
    }
    recorder.output("y", x + x);
  });
  const std::vector<std::string> expected = {"embed",
                                             "layers.3.attend.q_proj",
                                             "layers.3.attend.sinks",
                                             "layers.3.attend.add",
                                             "layers.3.attend.add_2",
                                             "add"};
  EXPECT_EQ(node_names(program), expected);
  EXPECT_EQ(program.weights[1].name, "model.layers.3.self_attn.q_proj.weight");
}

TEST(Recorder, SuffixesAvoidNamesThatExist) {
  const Program program = recorded([](Recorder& recorder) {
    const Tensor x = embedded_tokens(recorder);
    Tensor y = linear(x, recorder.weights().matrix("add_2.weight", kEmbed, kEmbed));
    for (int i = 0; i < 3; ++i) y = y + y;
    recorder.output("y", y);
  });
  const std::vector<std::string> expected = {"embed", "add_2", "add", "add_3", "add_4"};
  EXPECT_EQ(node_names(program), expected);
}

TEST(Recorder, AWeightOfOneNameExistsOnce) {
  const Program program = recorded([](Recorder& recorder) {
    const Tensor x = embedded_tokens(recorder);
    recorder.output("y", linear(x, recorder.weights().matrix("embed.weight", kVocab, kEmbed)));
  });
  EXPECT_EQ(program.weights.size(), 1u);
  EXPECT_EQ(program.nodes[0].operands[1], program.nodes[1].operands[1]);
}

TEST(Recorder, AWeightOfOneNameHasOneShape) {
  const std::string error = error_of([](Recorder& recorder) {
    recorder.output("y", embedded_tokens(recorder));
    recorder.weights().matrix("embed.weight", kEmbed, kEmbed);
  });
  EXPECT_NE(error.find("weight embed.weight: [8,8] was declared as [16,8] before"),
            std::string::npos)
      << error;
}

TEST(Recorder, WeightsNeedSoundSizes) {
  for (const int64_t size : {int64_t{0}, int64_t{-4}, int64_t{1} << 62}) {
    const std::string error = error_of([size](Recorder& recorder) {
      recorder.weights().matrix("w", {{Axis::vocab, size}}, kEmbed);
    });
    EXPECT_NE(error.find("weight w: needs"), std::string::npos) << error;
  }
}

TEST(Recorder, AWeightThatNothingReadsIsAnErrorAtItsLine) {
  int line = 0;
  const std::string error = error_of([&line](Recorder& recorder) {
    recorder.output("y", embedded_tokens(recorder));
    line = __LINE__ + 1;
    recorder.weights().vector("q_proj.bias", kEmbed);
  });
  EXPECT_EQ(error, "tests/program/recorder_test.cpp:" + std::to_string(line) +
                       ": weight q_proj.bias: declared, but nothing reads it");
}

TEST(Recorder, LayersOfOneRetentionRuleShareAGroup) {
  Recorder recorder("test", {});
  std::vector<std::pair<int32_t, int32_t>> places;
  for (const int64_t window : {128, 0, 128, 0}) {
    const auto place = recorder.kv_layer(window, 8, 64);
    places.emplace_back(place.group, place.layer);
  }
  recorder.kv_layer(0, 4, 64);
  const std::vector<std::pair<int32_t, int32_t>> expected = {{0, 0}, {1, 0}, {0, 1}, {1, 1}};
  EXPECT_EQ(places, expected);
  ASSERT_EQ(recorder.program().kv_groups.size(), 3u);
  EXPECT_EQ(recorder.program().kv_groups[0].window, 128);
  EXPECT_EQ(recorder.program().kv_groups[1].layers, 2);
  EXPECT_EQ(recorder.program().kv_groups[2].kv_heads, 4);
}

void attend_and_tap(Recorder& recorder) {
  Tensor x = embedded_tokens(recorder);
  const auto place = recorder.kv_layer(0, 2, 4);
  const Tensor heads = reshape(x, {Symbol::rows, 2, 4});
  const Tensor y = attention(heads, heads, heads, Tensor(), {.group = place.group});
  tap(softcap(y, 3.0f), "capped", 0);
  x = tap(x, "hidden", 0);
  x = tap(x + x, "hidden", 1);
  recorder.output("y", x);
}

TEST(Recorder, AttentionWithoutStateHasNoGroups) {
  const Program program = recorded(
      [](Recorder& recorder) {
        const Tensor heads = reshape(embedded_tokens(recorder), {Symbol::rows, 2, 4});
        const auto place = recorder.kv_layer(0, 2, 4);
        recorder.output("y", attention(heads, heads, heads, Tensor(),
                                       {.group = place.group, .layer = place.layer}));
      },
      {.stateful = false});
  EXPECT_TRUE(program.kv_groups.empty());
  EXPECT_FALSE(std::get<AttentionAttributes>(program.nodes.back().attributes).stateful);
}

TEST(Recorder, UnaskedTapsAndWhatOnlyTheyNeedAreGone) {
  const Program program = recorded(attend_and_tap);
  ASSERT_EQ(program.outputs.size(), 1u);
  const std::vector<std::string> expected = {"embed", "reshape", "attention", "add"};
  EXPECT_EQ(node_names(program), expected);  // attention stays: it writes the KV state
}

TEST(Recorder, AskedTapsAreOutputsBesideTheModel) {
  const Program program = recorded(attend_and_tap, {.taps = {"hidden.*", "capped.0"}});
  std::vector<std::string> names;
  for (const Output& output : program.outputs) names.push_back(output.name);
  EXPECT_EQ(names, (std::vector<std::string>{"capped.0", "hidden.0", "hidden.1", "y"}));
  for (const Node& node : program.nodes) {
    if (node.op == Op::tap) continue;
    for (const ValueId operand : node.operands) {
      const Value& value = program.values[static_cast<size_t>(operand)];
      const bool of_tap = value.kind == Value::Kind::node &&
                          program.nodes[static_cast<size_t>(value.node)].op == Op::tap;
      EXPECT_FALSE(of_tap) << node.name;
    }
  }
}

TEST(Recorder, ATapThatDoesNotExistIsAnError) {
  const Result<Program> result = record("test", {.taps = {"hidden.0", "hidden.7"}}, attend_and_tap);
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().kind, ErrorKind::usage);
  EXPECT_EQ(result.error().message,
            "no tap of model test matches \"hidden.7\"; it has: capped.0, hidden.0, hidden.1");
}

TEST(Recorder, DeadNodesTakeTheirInputsAndWeightsAlong) {
  const Program program = recorded([](Recorder& recorder) {
    const Tensor x = embedded_tokens(recorder);
    linear(x, recorder.weights().matrix("unneeded.weight", kEmbed, kEmbed));
    rope_angles(recorder.positions(), {{1.0f}, 1.0f});
    recorder.output("y", x);
  });
  EXPECT_EQ(program.nodes.size(), 1u);
  EXPECT_EQ(program.weights.size(), 1u);
  EXPECT_EQ(program.values.size(), 3u);  // tokens, the embedding, its rows
}

TEST(Recorder, ValuesAreNumberedByUseNotByMention) {
  const auto forward = [](bool early) {
    return [early](Recorder& recorder) {
      if (early) {
        recorder.positions();
        recorder.weights().vector("norm.weight", kEmbed);
      }
      const Tensor x = embedded_tokens(recorder);
      recorder.output("y", rms_norm(x, recorder.weights().vector("norm.weight", kEmbed), {}));
      recorder.output("angles", rope_angles(recorder.positions(), {{1.0f}, 1.0f}));
    };
  };
  EXPECT_EQ(print(recorded(forward(true))), print(recorded(forward(false))));
  EXPECT_EQ(content_hash(recorded(forward(true))), content_hash(recorded(forward(false))));
}

TEST(Recorder, OutputsHaveOneNameEach) {
  const std::string error = error_of([](Recorder& recorder) {
    const Tensor x = embedded_tokens(recorder);
    recorder.output("y", x);
    recorder.output("y", x);
  });
  EXPECT_NE(error.find("output y: the name is taken"), std::string::npos) << error;
}

TEST(Recorder, AScopeWithAPlaceDecidesTheLine) {
  const std::source_location here = std::source_location::current();
  const Program program = recorded([&here](Recorder& recorder) {
    const Scope scope(recorder, "there", here);
    recorder.output("y", embedded_tokens(recorder));
  });
  EXPECT_EQ(program.nodes[0].where.line(), here.line());
}

}  // namespace
}  // namespace dunlin
