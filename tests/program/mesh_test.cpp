// Meshes as text, the sharding table, and the axes of values.
#include "program/mesh.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "program/ops.h"
#include "program/sharding.h"
#include "program/value_axes.h"
#include "support/blocks.h"

namespace dunlin {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

Program gpt_oss_model(const GptOssSizes& sizes) {
  return record("gpt_oss", {}, [&sizes](Recorder& r) { record_gpt_oss(r, sizes); }).value();
}

Program dream_model(const DreamSizes& sizes) {
  return record("dream", {}, [&sizes](Recorder& r) { record_dream(r, sizes); }).value();
}

const Node& node_named(const Program& program, const std::string& name) {
  for (const Node& node : program.nodes) {
    if (node.name == name) return node;
  }
  throw std::runtime_error("no node " + name);
}

TEST(MeshShape, IsReadInAnyOrderAndWrittenInOne) {
  const MeshShape shape = parse_mesh_shape("model=8,data=2").value();
  EXPECT_EQ(shape, (MeshShape{.data = 2, .model = 8}));
  EXPECT_EQ(shape.devices(), 16);
  EXPECT_EQ(to_string(shape), "data=2,model=8");
  EXPECT_EQ(to_string(MeshShape{}), "data=1");
  EXPECT_EQ(parse_mesh_shape("stage=4").value().stage, 4);
}

TEST(MeshShape, WrongTextSaysWhatIsWrong) {
  const auto message = [](std::string_view text) {
    const auto result = parse_mesh_shape(text);
    EXPECT_FALSE(result.ok()) << text;
    if (result.ok()) return std::string();
    EXPECT_EQ(result.error().kind, ErrorKind::usage);
    return result.error().message;
  };
  EXPECT_THAT(message("tensor=4"), HasSubstr("\"tensor\" (known: data, stage"));
  EXPECT_THAT(message("model=4,model=2"), HasSubstr("model is named twice"));
  for (const char* size : {"model=0", "model=-1", "model", "model=", "model=4x", "model=65537",
                           "model=99999999999999999999"}) {
    EXPECT_THAT(message(size), HasSubstr("from 1 to 65536"));
  }
  EXPECT_THAT(message(""), HasSubstr("\"\""));
  EXPECT_THAT(message("data=65536,model=65536,fsdp=65536,stage=65536,width=65536,expert=65536"),
              HasSubstr("more than"));
}

// Eight query heads on two kv heads: four model shards are two kv shards with two copies each.
TEST(DeviceMesh, ModelAxisIsFactoredByKvHeads) {
  const Program program = dream_model({.heads = 8, .kv_heads = 2});
  for (const auto [model, kv, group] :
       {std::array<int64_t, 3>{1, 1, 1}, {2, 2, 1}, {4, 2, 2}, {3, 1, 3}, {6, 2, 3}, {16, 2, 8}}) {
    const Mesh mesh = device_mesh(program, {.model = model}).value();
    EXPECT_EQ(mesh.size(MeshAxis::kv), kv) << model;
    EXPECT_EQ(mesh.size(MeshAxis::group), group) << model;
    EXPECT_EQ(mesh.devices(), model);
  }
}

TEST(DeviceMesh, PadsWhatMayBePadded) {
  const Program program = dream_model({.vocab = 97, .heads = 8, .kv_heads = 2, .ffn = 96});
  const Mesh mesh = device_mesh(program, {.model = 10}).value();  // kv 2, group 5
  EXPECT_EQ(shard_extent(mesh, {{Axis::vocab, 97}}), 10);
  EXPECT_EQ(shard_extent(mesh, {{Axis::ffn, 96}}), 10);
  EXPECT_EQ(shard_extent(mesh, {{Axis::ffn, 96}}, 32), 32);
  EXPECT_EQ(shard_extent(mesh, {{Axis::ffn, 960}}, 64), 128);
  EXPECT_EQ(shard_extent(mesh, {{Axis::vocab, 97}}, 32), 10);
  const AxisList queries{{Axis::kv_heads, 2}, {Axis::q_group, 4}, {Axis::head_dim, 16}};
  EXPECT_EQ(axis_extent(mesh, queries[1]), 1);
  EXPECT_EQ(shard_extent(mesh, queries), 16);
  EXPECT_EQ(shard_extent(mesh, {{Axis::kv_heads, 2}, {Axis::head_dim, 16}}), 16);
}

TEST(DeviceMesh, RefusesWhatMustDivide) {
  const Program program = gpt_oss_model({.width = 64, .experts = 4});
  const auto message = [&program](const MeshShape& shape) {
    const auto result = device_mesh(program, shape);
    return result.ok() ? std::string("no error") : result.error().message;
  };
  EXPECT_THAT(message({.width = 3}),
              HasSubstr("model.embed_tokens.weight has 64 embed, which 3 devices"));
  EXPECT_THAT(message({.fsdp = 2, .width = 64}), HasSubstr("128 devices"));
  EXPECT_THAT(message({.expert = 3}), HasSubstr("has 4 experts, which 3 devices"));
  EXPECT_THAT(message({.stage = 3}), HasSubstr("2 layers cannot fill 3 stages"));
  EXPECT_EQ(message({.data = 5, .stage = 2, .fsdp = 2, .expert = 4, .width = 2, .model = 7}),
            "no error");
}

TEST(Sharding, NoMeshAxisSplitsTwoDimensionsOfAWeight) {
  for (const Program& program : {gpt_oss_model({}), dream_model({})}) {
    for (const WeightDeclaration& weight : program.weights) {
      std::vector<int> used(kMeshAxes, 0);
      for (const AxisList& dim : weight.dims) {
        for (const AxisSize& axis : dim) {
          for (const MeshAxis each : mesh_axes(axis.axis)) ++used[static_cast<size_t>(each)];
        }
      }
      for (const int count : used) EXPECT_LE(count, 1) << weight.name;
    }
  }
}

TEST(Sharding, LayersAreDealtToStages) {
  const Program program = dream_model({.layers = 5});
  EXPECT_EQ(layer_count(program), 5);
  EXPECT_EQ(layer_of(program.nodes.front()), -1);
  const std::vector<int64_t> stages = node_stages(program, 2);
  std::vector<int64_t> of_layer(5, -1);
  for (size_t i = 0; i < program.nodes.size(); ++i) {
    const int64_t layer = layer_of(program.nodes[i]);
    if (layer >= 0) of_layer[static_cast<size_t>(layer)] = stages[i];
  }
  EXPECT_THAT(of_layer, ElementsAre(0, 0, 0, 1, 1));
  EXPECT_EQ(stages.front(), 0);  // the embedding
  EXPECT_EQ(stages.back(), 1);   // the head
}

std::vector<Axis> names(const AxisList& axes) {
  std::vector<Axis> result;
  for (const AxisSize& axis : axes) result.push_back(axis.axis);
  return result;
}

TEST(ValueAxes, FollowFromTheWeights) {
  const Program program = gpt_oss_model({});
  const std::vector<ValueAxes> axes = value_axes(program);
  const auto result = [&](const std::string& name) {
    return axes[static_cast<size_t>(node_named(program, name).results[0])];
  };
  EXPECT_THAT(names(result("layers.0.attend.q_proj")[1]),
              ElementsAre(Axis::kv_heads, Axis::q_group, Axis::head_dim));
  const ValueAxes heads = result("layers.0.attend.rope");  // [T,H,h]
  EXPECT_TRUE(heads[0].empty());
  EXPECT_THAT(names(heads[1]), ElementsAre(Axis::kv_heads, Axis::q_group));
  EXPECT_THAT(names(heads[2]), ElementsAre(Axis::head_dim));
  EXPECT_THAT(names(result("layers.1.mlp.experts")[1]), ElementsAre(Axis::embed));
  EXPECT_TRUE(result("layers.1.mlp.route")[1].empty());
  const ValueAxes logits = axes[static_cast<size_t>(program.find_output("logits")->value)];
  EXPECT_THAT(names(logits[1]), ElementsAre(Axis::vocab));
}

TEST(ValueAxes, GiveTheElementsOfAShard) {
  const Program program =
      dream_model({.vocab = 96, .width = 64, .heads = 4, .kv_heads = 2, .ffn = 96});
  const std::vector<ValueAxes> axes = value_axes(program);
  const Mesh mesh = device_mesh(program, {.width = 2, .model = 4}).value();
  const SymbolSizes sizes{.rows = 10, .logit_rows = 3, .sequences = 1, .slots = 0};
  const auto elements = [&](ValueId id) {
    return shard_elements(program.type(id), axes[static_cast<size_t>(id)], mesh, sizes);
  };
  EXPECT_EQ(elements(program.find_output("logits")->value), 3 * 96 / 4);
  EXPECT_EQ(elements(node_named(program, "embed").results[0]), 10 * 64 / 2);
  EXPECT_EQ(elements(node_named(program, "layers.0.mlp.gated").results[0]), 10 * 96 / 4);
  EXPECT_EQ(elements(node_named(program, "layers.0.attend.attention").results[0]), 10 * 16);
}

TEST(ValueAxes, EndWhereAShapeCutsThroughAnAxis) {
  const Program program =
      record("test", {}, [](Recorder& recorder) {
        const Tensor x = embed(recorder.tokens(), recorder.weights().matrix("w", {{Axis::vocab, 8}},
                                                                            {{Axis::embed, 12}}));
        recorder.output("halves", reshape(x, {Symbol::rows, 2, 6}));
        recorder.output("whole", reshape(x, {Symbol::rows, 1, 12}));
      }).value();
  const std::vector<ValueAxes> axes = value_axes(program);
  const auto of = [&](const char* name) {
    return axes[static_cast<size_t>(program.find_output(name)->value)];
  };
  EXPECT_TRUE(of("halves")[1].empty());
  EXPECT_TRUE(of("halves")[2].empty());
  EXPECT_THAT(names(of("whole")[2]), ElementsAre(Axis::embed));
}

}  // namespace
}  // namespace dunlin
