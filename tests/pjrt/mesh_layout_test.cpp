// Where arrays lie on a mesh: the table, reshapes, and whole models.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

#include "backend/pjrt/lower/lower.h"
#include "backend/pjrt/sharding/grid.h"
#include "backend/pjrt/sharding/layout.h"
#include "backend/pjrt/sharding/program_sharding.h"
#include "backend/pjrt/sharding/reshape.h"
#include "bare_models.h"
#include "mesh_models.h"
#include "models/registry.h"
#include "program/definitions.h"
#include "program/ops.h"
#include "program/sharding.h"

namespace dunlin::pjrt {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

Mesh mesh_of(std::initializer_list<std::pair<MeshAxis, int64_t>> sizes) {
  Mesh mesh;
  for (const auto& [axis, size] : sizes) mesh.sizes[static_cast<size_t>(axis)] = size;
  return mesh;
}

const AxisList kQueries = {{Axis::kv_heads, 8}, {Axis::q_group, 4}, {Axis::head_dim, 16}};

TEST(MeshLayout, AxesThatNothingSplitsAreOneWithTheirNeighbours) {
  const Mesh kv = mesh_of({{MeshAxis::kv, 4}});
  EXPECT_EQ(canonical(kv, kQueries), (AxisList{{Axis::kv_heads, 8}, {Axis::head_dim, 64}}));
  const Mesh both = mesh_of({{MeshAxis::kv, 4}, {MeshAxis::group, 2}});
  EXPECT_EQ(canonical(both, kQueries), kQueries);
  EXPECT_THAT(canonical(mesh_of({{MeshAxis::data, 4}}), kQueries), IsEmpty());
  EXPECT_THAT(split_axes(both, kQueries), ElementsAre(MeshAxis::kv, MeshAxis::group));
}

TEST(MeshLayout, AMeshAxisSplitsOneDimension) {
  const Mesh mesh = mesh_of({{MeshAxis::kv, 2}});
  const AxisList vocabulary = {{Axis::vocab, 8}};
  const AxisList ffn = {{Axis::ffn, 6}};
  EXPECT_EQ(canonical_layout(mesh, {vocabulary, ffn}), (Layout{vocabulary, AxisList()}));
}

TEST(MeshLayout, HeadsThatTheMeshDoesNotDivideAreWhole) {
  const Mesh mesh = mesh_of({{MeshAxis::kv, 2}, {MeshAxis::group, 2}});
  EXPECT_EQ(key_layout(mesh, 4)[1], (AxisList{{Axis::kv_heads, 4}}));
  EXPECT_THAT(key_layout(mesh, 3)[1], IsEmpty());
  EXPECT_EQ(query_layout(mesh, 12, 4)[1], (AxisList{{Axis::kv_heads, 4}, {Axis::q_group, 3}}));
  EXPECT_EQ(query_layout(mesh, 9, 3)[1], (AxisList{{Axis::head_dim, 3}, {Axis::q_group, 3}}));
}

TEST(MeshLayout, SizesOfADeviceArePadded) {
  const Sharding sharding{.mesh = mesh_of({{MeshAxis::kv, 2}, {MeshAxis::group, 2}}),
                          .ffn_unit = 32};
  const AxisList width = {{Axis::embed, 64}};
  const AxisList heads = {{Axis::kv_heads, 2}, {Axis::q_group, 3}};
  const Layout layout = canonical_layout(sharding.mesh, {width, heads});
  EXPECT_EQ(local_dims(sharding, layout, {64, 6}), (Shape{64, 2}));
  const AxisList vocabulary = {{Axis::vocab, 97}};
  const AxisList ffn = {{Axis::ffn, 64}};
  EXPECT_EQ(local_dims(sharding, Layout{vocabulary, ffn}, {97, 64}), (Shape{25, 32}));
}

TEST(MeshLayout, StageFsdpAndWidthAreRefused) {
  EXPECT_TRUE(check_axes({.data = 2, .expert = 2, .model = 2}).ok());
  for (const MeshShape& shape :
       {MeshShape{.stage = 2}, MeshShape{.fsdp = 2}, MeshShape{.width = 2}}) {
    const auto refused = check_axes(shape);
    ASSERT_FALSE(refused.ok());
    EXPECT_EQ(refused.error().kind, ErrorKind::usage);
    EXPECT_THAT(refused.error().message, HasSubstr("mesh " + to_string(shape)));
  }
}

TEST(MeshReshape, HeadsAreTakenApartAndPutTogether) {
  const Mesh mesh = mesh_of({{MeshAxis::kv, 2}, {MeshAxis::group, 2}});
  const AxisList split = {{Axis::kv_heads, 2}, {Axis::q_group, 4}};
  const AxisList flat = {{Axis::kv_heads, 2}, {Axis::q_group, 4}, {Axis::head_dim, 16}};
  const Dims apart = {Symbol::rows, 8, 16};
  const Dims together = {Symbol::rows, 128};
  const AxisList none;
  EXPECT_EQ(reshaped(mesh, Layout{none, flat}, together, apart), (Layout{none, split, none}));
  EXPECT_EQ(reshaped(mesh, Layout{none, split, none}, apart, together), (Layout{none, flat}));
  // A head of 16 as two of 8.
  EXPECT_EQ(reshaped(mesh, Layout{none, flat}, together, Dims{Symbol::rows, 8, 2, 8}),
            (Layout{none, split, none, none}));
  EXPECT_EQ(reshaped(mesh, whole_layout(2), together, Dims{Symbol::rows, 32, 4}), whole_layout(3));
  // Rows among the columns: the order of elements would be another.
  EXPECT_FALSE(reshaped(mesh, whole_layout(2), together, Dims{4, Symbol::rows, 32}).has_value());
}

TEST(MeshReshape, AnAxisThatIsSplitStaysInOneDimension) {
  const Mesh mesh = mesh_of({{MeshAxis::kv, 2}});
  const AxisList ffn = {{Axis::ffn, 12}};
  const AxisList none;
  EXPECT_FALSE(reshaped(mesh, Layout{ffn}, Dims{12}, Dims{3, 4}).has_value());
  EXPECT_EQ(reshaped(mesh, Layout{ffn}, Dims{12}, Dims{1, 12, 1}), (Layout{none, ffn, none}));
}

// One query head of each kv head, on twice as many devices as there are kv heads.
TEST(MeshReshape, AnAxisOfOneElementStaysWithItsHeads) {
  const Mesh mesh = mesh_of({{MeshAxis::kv, 2}, {MeshAxis::group, 2}});
  const AxisList flat = {{Axis::kv_heads, 2}, {Axis::q_group, 1}, {Axis::head_dim, 16}};
  const AxisList heads = {{Axis::kv_heads, 2}, {Axis::q_group, 1}};
  EXPECT_EQ(reshaped(mesh, Layout{flat}, Dims{32}, Dims{2, 16}), (Layout{heads, AxisList()}));
}

TEST(MeshGrid, GroupsAreDevicesThatDifferInThePlaceOnTheAxes) {
  const Mesh mesh = mesh_of({{MeshAxis::data, 2}, {MeshAxis::kv, 2}, {MeshAxis::group, 2}});
  EXPECT_EQ(device_groups(mesh, {MeshAxis::kv, MeshAxis::group}),
            (DeviceGroups{{0, 1, 2, 3}, {4, 5, 6, 7}}));
  EXPECT_EQ(device_groups(mesh, {MeshAxis::kv}), (DeviceGroups{{0, 2}, {1, 3}, {4, 6}, {5, 7}}));
  EXPECT_EQ(device_groups(mesh, batch_axes()), (DeviceGroups{{0, 4}, {1, 5}, {2, 6}, {3, 7}}));
  const AxisList vocabulary = {{Axis::vocab, 8}};
  EXPECT_EQ(splits_of(mesh, Layout{vocabulary, AxisList()}), (Splits{{"kv", "group"}, {}}));
  EXPECT_EQ(per_device_splits(mesh), (Splits{{"data", "kv", "group"}}));
}

// Nodes that take an operand in another layout than it has: where something must be exchanged that no
// matrix asks for. Splats are not among them, they are made anew.
std::vector<std::string> exchanges(const Program& program, const ProgramSharding& sharding) {
  std::vector<std::string> names;
  for (size_t i = 0; i < program.nodes.size(); ++i) {
    const Node& node = program.nodes[i];
    for (size_t j = 0; j < node.operands.size(); ++j) {
      const auto id = static_cast<size_t>(node.operands[j]);
      if (!is_whole(sharding.values[id]) && sharding.operands[i][j] != sharding.values[id])
        names.push_back(node.name);
    }
  }
  return names;
}

TEST(MeshPropagation, NoModelGathersAValue) {
  for (const MeshModel& model : mesh_models()) {
    for (const MeshShape& shape : model.meshes) {
      const MeshProgram it = mesh_program(model.config, shape);
      EXPECT_THAT(exchanges(it.expanded, *it.options.sharding), IsEmpty())
          << model.name << " on " << to_string(shape);
      EXPECT_TRUE(it.options.sharding->splits_batch);
    }
  }
}

TEST(MeshPropagation, WeightsStateAndOutputsAreSplitByTheTable) {
  const MeshProgram it = mesh_program(mesh_models().front().config, {.data = 2, .model = 4});
  const ProgramSharding& sharding = *it.options.sharding;
  EXPECT_EQ(to_string(sharding.mesh()), "data=2,kv=2,group=2");
  EXPECT_EQ(sharding.batch_parts(), 2);
  EXPECT_EQ(sharding.batch_part_of(3), 0);
  EXPECT_EQ(sharding.batch_part_of(4), 1);
  EXPECT_EQ(sharding.device_of(1, {MeshAxis::kv, MeshAxis::group}, 2), 6);
  const auto dims = [&](const std::string& name) {
    for (size_t i = 0; i < it.expanded.weights.size(); ++i) {
      if (it.expanded.weights[i].name != name) continue;
      const auto weight = static_cast<WeightId>(i);
      return weight_types(it.expanded, {weight, {}}, &sharding).front().dims;
    }
    ADD_FAILURE() << name;
    return Shape();
  };
  // Width 64, four query heads on two kv heads of 16, ffn 160, vocabulary 160.
  EXPECT_THAT(dims("model.embed_tokens.weight"), ElementsAre(40, 64));
  EXPECT_THAT(dims("model.layers.0.self_attn.q_proj.weight"), ElementsAre(16, 64));
  EXPECT_THAT(dims("model.layers.0.self_attn.k_proj.weight"), ElementsAre(16, 64));
  EXPECT_THAT(dims("model.layers.0.self_attn.o_proj.weight"), ElementsAre(64, 16));
  EXPECT_THAT(dims("model.layers.0.mlp.gate_proj.weight"), ElementsAre(40, 64));
  EXPECT_THAT(dims("model.layers.0.mlp.down_proj.weight"), ElementsAre(64, 40));
  EXPECT_THAT(dims("model.norm.weight"), ElementsAre(64));
  const std::vector<KvGroupShape> groups = {{.slots = 3, .positions = 32}};
  const auto state = state_types(it.expanded, groups, it.options);
  EXPECT_THAT(state.front().dims, ElementsAre(3, 1, 32, 16));
  EXPECT_EQ(state_splits(sharding, 0), (Splits{{"data"}, {"kv"}, {}, {}}));
  // The logits leave the devices in parts, their view is whole.
  for (size_t i = 0; i < it.expanded.outputs.size(); ++i) {
    const bool logits = it.expanded.outputs[i].name == kLogitsOutput;
    EXPECT_EQ(is_whole(sharding.outputs[i]), !logits) << it.expanded.outputs[i].name;
  }
}

TEST(MeshPropagation, OnlyTheExpertsAreSplitByExpert) {
  const MeshProgram it = mesh_program(gpt_oss_config(), {.expert = 2});
  for (size_t i = 0; i < it.expanded.weights.size(); ++i) {
    const std::string& name = it.expanded.weights[i].name;
    const bool stack = name.find("mlp.experts.") != std::string::npos;
    EXPECT_EQ(is_whole(it.options.sharding->weights[i]), !stack) << name;
  }
}

// They would be parts on each device; imatrix asks for them.
TEST(MeshPropagation, HiddenRowsOfExpertsAreForOneDevice) {
  const Program program = record_model(gpt_oss_config(), {.keeps_hidden = true}).value();
  const auto refused =
      shard_program(program, shapes_of(program, Format::f32), {.data = 2}, /*splits_batch=*/true);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().kind, ErrorKind::usage);
  EXPECT_THAT(refused.error().message, HasSubstr("mesh data=2: what the down projections"));
}

// What no rule is for is gathered: the sum over a dimension that is split.
TEST(MeshPropagation, AnOperationWithoutARuleTakesItsOperandsWhole) {
  const Program program =
      record("sums", {}, [](Recorder& r) {
        const Tensor table = r.weights().matrix("table", {{Axis::vocab, 8}}, {{Axis::embed, 4}});
        const Tensor weight = r.weights().matrix("w", {{Axis::ffn, 6}}, {{Axis::embed, 4}});
        const Tensor y = linear(embed(r.tokens(), table), weight);
        r.output("sum", reduce(y, ReduceAttributes::Kind::sum, 1));
      }).value();
  const Sharding sharding{.shape = {.model = 2}, .mesh = mesh_of({{MeshAxis::kv, 2}})};
  const ProgramSharding result = propagate(program, sharding, true);
  EXPECT_THAT(exchanges(program, result), ElementsAre(program.nodes.back().name));
  EXPECT_TRUE(is_whole(result.outputs.front()));
}

}  // namespace
}  // namespace dunlin::pjrt
