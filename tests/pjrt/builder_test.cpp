// The text that the builder writes.
#include "backend/pjrt/stablehlo/builder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "pjrt_device.h"

namespace dunlin::pjrt {
namespace {

using testing::HasSubstr;

TEST(Builder, WritesAModule) {
  Builder b;
  const Var x = b.argument({Element::f32, {2, 3}}, "{tf.aliasing_output = 0 : i32}");
  const Var w = b.argument({Element::f32, {4, 3}});
  b.set_location("layers.0.q");
  const Var y = b.dot(x, w, {.contract_left = {1}, .contract_right = {1}});
  EXPECT_EQ(b.finish({x, y}),
            "module @dunlin {\n"
            "  func.func public @main(%arg0: tensor<2x3xf32> {tf.aliasing_output = 0 : i32}, "
            "%arg1: tensor<4x3xf32>) -> (tensor<2x3xf32>, tensor<2x4xf32>) {\n"
            "    %0 = stablehlo.dot_general %arg0, %arg1, contracting_dims = [1] x [1], precision "
            "= [HIGHEST, HIGHEST] : (tensor<2x3xf32>, tensor<4x3xf32>) -> tensor<2x4xf32> "
            "loc(\"layers.0.q\")\n"
            "    return %arg0, %0 : tensor<2x3xf32>, tensor<2x4xf32>\n"
            "  }\n"
            "}\n");
}

TEST(Builder, ConstantsKeepEveryBit) {
  Builder b;
  b.constant({Element::f32, {}}, static_cast<double>(0.1f));
  b.constant({Element::f32, {}}, -std::numeric_limits<double>::infinity());
  b.constant({Element::f32, {2, 1}}, {1.0, -2.5});
  b.constant({Element::i1, {2}}, {1.0, 0.0});
  const std::string text = b.finish({});
  EXPECT_THAT(text, HasSubstr("dense<1.000000015e-01> : tensor<f32>"));
  EXPECT_THAT(text, HasSubstr("dense<0xFF800000> : tensor<f32>"));
  EXPECT_THAT(text, HasSubstr("dense<[[1.000000000e+00], [-2.500000000e+00]]>"));
  EXPECT_THAT(text, HasSubstr("dense<[true, false]> : tensor<2xi1>"));
}

TEST(Builder, ABarrierGivesEveryValueAgain) {
  Builder b;
  const Var x = b.argument({Element::i4, {2, 3}});
  const Var number = b.argument({Element::i32, {}});
  const Vars held = b.barrier({number, x});
  ASSERT_EQ(held.size(), 2u);
  EXPECT_EQ(held[1].type, x.type);
  EXPECT_THAT(b.finish({held[0]}),
              HasSubstr("%0:2 = \"stablehlo.optimization_barrier\"(%arg1, %arg0) : (tensor<i32>, "
                        "tensor<2x3xi4>) -> (tensor<i32>, tensor<2x3xi4>)\n    return %0#0 : "));
}

TEST(Builder, LoopsCount) {
  DUNLIN_NEEDS_PLUGIN();
  Builder b;
  const Var count = b.argument({Element::i32, {}});
  const Var start = b.constant({Element::i32, {}}, 0.0);
  const Vars sums = b.counted_loop(count, {start, count}, [&b](const Var& i, const Vars& carried) {
    return Vars{b.add(carried[0], i), b.plus(carried[1], 2.0)};
  });
  const auto client = test_client();
  const auto program = client->compile(b.finish(sums), {});
  ASSERT_TRUE(program.ok()) << program.error().message;
  const std::vector<int32_t> ten{10};
  const auto argument = client->upload({Element::i32, {}}, std::as_bytes(std::span(ten)), 0);
  ASSERT_TRUE(argument.ok());
  const auto results = (*program)->execute({{argument->id()}});
  ASSERT_TRUE(results.ok()) << results.error().message;
  int32_t values[2] = {};
  for (size_t i = 0; i < 2; ++i) {
    const auto bytes = std::as_writable_bytes(std::span(&values[i], 1));
    ASSERT_TRUE((*results)[0][i].download({Element::i32, {}}, bytes).ok());
  }
  EXPECT_EQ(values[0], 45);
  EXPECT_EQ(values[1], 30);
}

TEST(BuilderDeathTest, RefusesShapesThatDoNotMatch) {
  Builder b;
  const Var x = b.argument({Element::f32, {2}});
  const Var y = b.argument({Element::f32, {3}});
  EXPECT_DEATH(b.add(x, y), "tensor<2xf32> and tensor<3xf32>");
  EXPECT_DEATH(b.reshape(x, {3}), "reshape");
}

}  // namespace
}  // namespace dunlin::pjrt
