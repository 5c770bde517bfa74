// Last uses and shared storage.
#include "program/liveness.h"

#include <gtest/gtest.h>

#include "program/ops.h"

namespace dunlin {
namespace {

struct Recorded {
  Program program;
  Liveness live;

  explicit Recorded(const std::function<void(Recorder&)>& forward)
      : program(record("test", {.taps = {}, .stateful = false}, forward).value()),
        live(analyse_liveness(program)) {}

  ValueId result(size_t node, size_t number = 0) const {
    return program.nodes[node].results[number];
  }
  int32_t last_use(size_t node) const { return live.last_use[static_cast<size_t>(result(node))]; }
  ValueId root(size_t node) const { return live.storage_root[static_cast<size_t>(result(node))]; }
  LiveInterval storage(size_t node) const {
    return live.storage[static_cast<size_t>(result(node))];
  }
};

Tensor embedded(Recorder& recorder) {
  return embed(recorder.tokens(),
               recorder.weights().matrix("embed.weight", {{Axis::vocab, 16}}, {{Axis::embed, 8}}));
}

TEST(Liveness, ValuesLiveToTheirLastReader) {
  const Recorded it([](Recorder& recorder) {
    const Tensor x = embedded(recorder);  // 0
    const Tensor y = x + x;               // 1
    const Tensor z = y * y;               // 2
    recorder.output("y", x + z);          // 3
  });
  EXPECT_EQ(it.last_use(0), 3);
  EXPECT_EQ(it.last_use(1), 2);
  EXPECT_EQ(it.last_use(2), 3);
  EXPECT_EQ(it.last_use(3), 4);  // an output outlives the nodes
  EXPECT_EQ(it.storage(1).first, 1);
  EXPECT_EQ(it.storage(1).last, 2);
}

TEST(Liveness, InputsAndWeightsExistBeforeTheFirstNode) {
  const Recorded it([](Recorder& recorder) { recorder.output("y", embedded(recorder)); });
  for (size_t i = 0; i < 2; ++i) {  // tokens and the embedding
    EXPECT_EQ(it.live.storage[i].first, -1);
    EXPECT_EQ(it.live.storage[i].last, 0);
  }
}

TEST(Liveness, ViewsExtendTheirRoot) {
  const Recorded it([](Recorder& recorder) {
    const Tensor x = embedded(recorder);                       // 0
    const Tensor heads = reshape(x, {Symbol::rows, 2, 4});     // 1, a view of 0
    const Tensor flat = reshape(heads, {Symbol::rows, 8, 1});  // 2, a view of a view
    const Tensor y = softcap(x, 2.0f);                         // 3
    const Tensor z = softcap(flat, 2.0f);                      // 4
    const Tensor w = reshape(y, {Symbol::rows, 8, 1});         // 5, a view of 3
    recorder.output("y", w + z);                               // 6
  });
  EXPECT_EQ(it.root(1), it.result(0));
  EXPECT_EQ(it.root(2), it.result(0));
  EXPECT_EQ(it.root(5), it.result(3));
  EXPECT_EQ(it.root(4), it.result(4));
  EXPECT_EQ(it.last_use(0), 3);  // itself
  EXPECT_EQ(it.storage(0).first, 0);
  EXPECT_EQ(it.storage(0).last, 4);  // with its views
  EXPECT_EQ(it.storage(2).first, 0);
  EXPECT_EQ(it.storage(2).last, 4);
  EXPECT_EQ(it.storage(3).last, 6);
}

TEST(Liveness, OnlyContiguousSlicesAreViews) {
  const Recorded it([](Recorder& recorder) {
    const Tensor table = constant(recorder, {1, 4, 6}, {1.0}, DType::f32);              // 0
    const Tensor rows = slice(table, {.axis = 1, .begin = 1, .end = 3});                // 1
    const Tensor columns = slice(table, {.axis = 2, .begin = 0, .end = 3});             // 2
    const Tensor steps = slice(table, {.axis = 1, .begin = 0, .end = 4, .stride = 2});  // 3
    const Tensor all = slice(table, {.axis = 2, .begin = 0, .end = 6});                 // 4
    recorder.output("rows", rows);
    recorder.output("columns", columns);
    recorder.output("steps", steps);
    recorder.output("all", all);
  });
  EXPECT_EQ(it.root(1), it.result(0));
  EXPECT_EQ(it.root(2), it.result(2));
  EXPECT_EQ(it.root(3), it.result(3));
  EXPECT_EQ(it.root(4), it.result(0));
  EXPECT_EQ(it.storage(0).last, 5);  // its views are outputs
}

TEST(Liveness, AResultThatNothingReadsLivesDuringItsNode) {
  const Recorded it([](Recorder& recorder) {
    const Tensor table = constant(recorder, {4}, {1.0}, DType::f32);  // 0
    recorder.output("ids", top_k(table, 2).indices);                  // 1
  });
  const auto values = static_cast<size_t>(it.result(1, 0));
  EXPECT_EQ(it.live.last_use[values], 1);
  EXPECT_EQ(it.live.storage[values].first, 1);
  EXPECT_EQ(it.live.storage[values].last, 1);
}

TEST(Liveness, ATapSharesItsOperandsStorage) {
  const Program program = record("test", {.taps = {"x"}}, [](Recorder& recorder) {
                            const Tensor x = embedded(recorder);  // 0
                            tap(x, "x");                          // 1
                            recorder.output("y", x + x);          // 2
                          }).value();
  const Liveness live = analyse_liveness(program);
  const auto x = static_cast<size_t>(program.nodes[0].results[0]);
  const auto tapped = static_cast<size_t>(program.nodes[1].results[0]);
  EXPECT_EQ(live.storage_root[tapped], static_cast<ValueId>(x));
  EXPECT_EQ(live.storage[x].last, 3);
  EXPECT_EQ(live.last_use[x], 2);
}

}  // namespace
}  // namespace dunlin
