// Which outputs watching adds.
#include "program/watch_nodes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "program/location.h"
#include "program/ops.h"

namespace dunlin {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

Program two_layers() {
  return record("test", {},
                [](Recorder& recorder) {
                  const AxisList vocab{{Axis::vocab, 16}};
                  const AxisList embed_axis{{Axis::embed, 8}};
                  const Tensor table = recorder.weights().matrix("embed.weight", vocab, embed_axis);
                  Tensor x = embed(recorder.tokens(), table);
                  for (int64_t i = 0; i < 2; ++i) {
                    const Scope layer(recorder, "layers", i);
                    x = x + x;
                    x = x * x;
                  }
                  const TopK best = top_k(x, 3);
                  recorder.output("y", best.values);
                  recorder.output("ids", best.indices);
                })
      .value();
}

std::vector<std::string> names(const std::vector<WatchedValue>& values) {
  std::vector<std::string> list;
  for (const WatchedValue& value : values) list.push_back(value.name);
  return list;
}

TEST(WatchNodes, AddsAnOutputForEveryResultInOrderOfExecution) {
  Program program = two_layers();
  const auto watched = watch_nodes(program, {"top_k", "layers.1.*"}).value();
  EXPECT_THAT(names(watched), ElementsAre("layers.1.add", "layers.1.mul", "top_k", "top_k#1"));
  ASSERT_EQ(program.outputs.size(), 6u);
  EXPECT_EQ(program.outputs[0].name, "y");
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(program.outputs[2 + i].name, watched[i].output);
    EXPECT_EQ(watched[i].output, "watch:" + watched[i].name);
  }
  // A value that is an output already is one more.
  EXPECT_EQ(program.outputs[4].value, program.outputs[0].value);
  EXPECT_EQ(watched[1].op, Op::mul);
  EXPECT_THAT(location_text(watched[1].where), HasSubstr("tests/program/watch_nodes_test.cpp:"));
  EXPECT_TRUE(verify(program).ok());
}

TEST(WatchNodes, ANodeThatSeveralPatternsMatchIsWatchedOnce) {
  Program program = two_layers();
  EXPECT_THAT(names(watch_nodes(program, {"*.add", "layers.0.*"}).value()),
              ElementsAre("layers.0.add", "layers.0.mul", "layers.1.add"));
}

TEST(WatchNodes, APatternWithoutANodeIsAnErrorThatNamesSome) {
  Program program = two_layers();
  const auto watched = watch_nodes(program, {"layers.0.*", "layers.7.*"});
  ASSERT_FALSE(watched.ok());
  EXPECT_EQ(watched.error().kind, ErrorKind::usage);
  EXPECT_THAT(watched.error().message, HasSubstr("\"layers.7.*\""));
  EXPECT_THAT(watched.error().message, HasSubstr("layers.0.add"));
}

}  // namespace
}  // namespace dunlin
