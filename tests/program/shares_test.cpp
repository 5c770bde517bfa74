// Shares of weights on the devices of a mesh.
#include "program/shares.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "program/sharding.h"
#include "support/blocks.h"

namespace dunlin {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

Mesh mesh_of(std::initializer_list<std::pair<MeshAxis, int64_t>> sizes) {
  Mesh mesh;
  for (const auto& [axis, size] : sizes) mesh.sizes[static_cast<size_t>(axis)] = size;
  return mesh;
}

Sharding sharding_of(std::initializer_list<std::pair<MeshAxis, int64_t>> sizes,
                     int64_t ffn_unit = 1) {
  return {.shape = {}, .mesh = mesh_of(sizes), .ffn_unit = ffn_unit};
}

Coordinates place_at(std::initializer_list<std::pair<MeshAxis, int64_t>> numbers) {
  Coordinates place{};
  for (const auto& [axis, number] : numbers) place[static_cast<size_t>(axis)] = number;
  return place;
}

AxisList queries(int64_t kv_heads, int64_t group, int64_t head_dim) {
  return {{Axis::kv_heads, kv_heads}, {Axis::q_group, group}, {Axis::head_dim, head_dim}};
}

IndexRuns runs(int64_t extent, std::vector<IndexRun> list) {
  return {.extent = extent, .runs = std::move(list)};
}

TEST(Coordinates, CountRowMajorWithGroupFastest) {
  const Mesh mesh = mesh_of({{MeshAxis::data, 2}, {MeshAxis::kv, 3}, {MeshAxis::group, 4}});
  EXPECT_EQ(to_string(mesh, coordinates_of(mesh, 0)), "data=0,kv=0,group=0");
  EXPECT_EQ(to_string(mesh, coordinates_of(mesh, 1)), "data=0,kv=0,group=1");
  EXPECT_EQ(to_string(mesh, coordinates_of(mesh, 23)), "data=1,kv=2,group=3");
  EXPECT_EQ(to_string(mesh), "data=2,kv=3,group=4");
  EXPECT_EQ(to_string(Mesh{}), "all");
  EXPECT_EQ(shard_count(mesh), 12);  // data copies weights
  for (int64_t device = 0; device < mesh.devices(); ++device)
    EXPECT_EQ(device_at(mesh, coordinates_of(mesh, device)), device);
  const Coordinates last = coordinates_of(mesh, 23);
  EXPECT_EQ(place_on(mesh, last, {MeshAxis::kv, MeshAxis::group}), 11);
  EXPECT_EQ(place_on(mesh, last, {MeshAxis::group}), 3);
  EXPECT_EQ(place_on(mesh, last, {}), 0);
}

// Llama 3 70B on 16 devices: 64 query heads on 8 kv heads of 128, kv = 8 and group = 2.
TEST(DimensionShare, KvHeadsAreCopiedAndQueryHeadsSplitWithinTheirGroup) {
  const Sharding sharding = sharding_of({{MeshAxis::kv, 8}, {MeshAxis::group, 2}});
  const Coordinates place = place_at({{MeshAxis::kv, 3}, {MeshAxis::group, 1}});
  EXPECT_EQ(dimension_share(sharding, place, queries(8, 8, 128)),
            runs(512, {{0, 3 * 1024 + 512, 512}}));
  const AxisList keys = {{Axis::kv_heads, 8}, {Axis::head_dim, 128}};
  for (const int64_t group : {0, 1}) {
    const Coordinates copy = place_at({{MeshAxis::kv, 3}, {MeshAxis::group, group}});
    EXPECT_EQ(dimension_share(sharding, copy, keys), runs(128, {{0, 3 * 128, 128}}));
  }
  EXPECT_EQ(dimension_share(sharding, place, {{Axis::vocab, 128256}}),
            runs(8016, {{0, 7 * 8016, 8016}}));
  EXPECT_EQ(dimension_share(sharding, place, {{Axis::ffn, 28672}}),
            runs(1792, {{0, 7 * 1792, 1792}}));
  EXPECT_TRUE(dimension_share(sharding, place, {{Axis::embed, 8192}}).is_all_of(8192));
}

// SmolLM2 135M on two devices: nine query heads on three kv heads, so kv = 1 and group = 2, and the
// group of three is padded to four.
TEST(DimensionShare, AGroupThatDoesNotDivideIsPaddedWithZeroHeads) {
  const Sharding sharding = sharding_of({{MeshAxis::group, 2}});
  const auto share = [&](int64_t group) {
    return dimension_share(sharding, place_at({{MeshAxis::group, group}}), queries(3, 3, 64));
  };
  EXPECT_EQ(share(0), runs(384, {{0, 0, 128}, {128, 192, 128}, {256, 384, 128}}));
  EXPECT_EQ(share(1), runs(384, {{0, 128, 64}, {128, 320, 64}, {256, 512, 64}}));
}

TEST(DimensionShare, TheLastPartsAreShorterOrEmpty) {
  const Sharding sharding = sharding_of({{MeshAxis::kv, 16}});
  const auto share = [&](int64_t kv) {
    return dimension_share(sharding, place_at({{MeshAxis::kv, kv}}), {{Axis::vocab, 97}});
  };
  EXPECT_EQ(share(0), runs(7, {{0, 0, 7}}));
  EXPECT_EQ(share(13), runs(7, {{0, 91, 6}}));
  EXPECT_EQ(share(14), runs(7, {}));
}

// Llama 3 8B on 16 devices: 14336 / 16 = 896 columns would cut a block of 256.
TEST(DimensionShare, FfnIsSplitBetweenUnits) {
  const Sharding sharding = sharding_of({{MeshAxis::kv, 8}, {MeshAxis::group, 2}}, 256);
  const auto share = [&](int64_t kv, int64_t group) {
    return dimension_share(sharding, place_at({{MeshAxis::kv, kv}, {MeshAxis::group, group}}),
                           {{Axis::ffn, 14336}});
  };
  EXPECT_EQ(share(0, 1), runs(1024, {{0, 1024, 1024}}));
  EXPECT_EQ(share(6, 1), runs(1024, {{0, 13312, 1024}}));
  EXPECT_THAT(share(7, 0).runs, IsEmpty());
  const Sharding one = sharding_of({}, 256);
  EXPECT_TRUE(dimension_share(one, {}, {{Axis::ffn, 100}}).is_all_of(100));
}

TEST(DimensionShare, ExpertsAndTheirRowsAreSplitTogether) {
  const Sharding sharding = sharding_of({{MeshAxis::expert, 2}, {MeshAxis::kv, 2}});
  const Coordinates place = place_at({{MeshAxis::expert, 1}, {MeshAxis::kv, 1}});
  EXPECT_EQ(dimension_share(sharding, place, {{Axis::experts, 4}, {Axis::ffn, 10}}),
            runs(10, {{0, 25, 5}, {5, 35, 5}}));
}

// Every element of every weight is on as many devices as the mesh copies it, and at one place there.
TEST(DimensionShare, EveryElementIsHeldOnceByEachCopy) {
  const Program programs[] = {
      record("gpt_oss", {}, [](Recorder& r) { record_gpt_oss(r, {.heads = 6}); }).value(),
      record("dream", {}, [](Recorder& r) {
        record_dream(r, {.vocab = 97, .heads = 9, .kv_heads = 3});
      }).value()};
  const MeshShape shapes[] = {{.model = 2},
                              {.model = 4},
                              {.model = 6},
                              {.fsdp = 2, .model = 3},
                              {.fsdp = 2, .width = 2, .model = 8},
                              {.data = 2, .fsdp = 4}};
  for (const Program& program : programs) {
    for (const MeshShape& shape : shapes) {
      const Sharding sharding{.shape = shape, .mesh = device_mesh(program, shape).value()};
      for (const WeightDeclaration& weight : program.weights) {
        for (const AxisList& dim : weight.dims) {
          std::vector<int64_t> copies(static_cast<size_t>(extent(dim)));
          int64_t ways = 1;
          for (const AxisSize& axis : dim) ways *= parts(sharding.mesh, axis.axis);
          for (int64_t device = 0; device < sharding.mesh.devices(); ++device) {
            const IndexRuns share =
                dimension_share(sharding, coordinates_of(sharding.mesh, device), dim);
            EXPECT_EQ(share.extent, shard_extent(sharding.mesh, dim));
            int64_t end = 0;
            for (const IndexRun& run : share.runs) {
              EXPECT_GE(run.at, end);
              end = run.at + run.count;
              for (int64_t i = 0; i < run.count; ++i) ++copies[static_cast<size_t>(run.begin + i)];
            }
            EXPECT_LE(end, share.extent);
          }
          EXPECT_TRUE(std::ranges::all_of(
              copies, [&](int64_t count) { return count == sharding.mesh.devices() / ways; }))
              << weight.name << " on " << to_string(shape);
        }
      }
    }
  }
}

TEST(WeightStages, FollowTheNodesThatReadThem) {
  const Program program =
      record("dream", {}, [](Recorder& r) { record_dream(r, {.layers = 3}); }).value();
  const auto stages = weight_stages(program, 2);
  ASSERT_EQ(stages.size(), program.weights.size());
  for (size_t i = 0; i < stages.size(); ++i) {
    const std::string& name = program.weights[i].name;
    if (name == "model.embed_tokens.weight" || name.find("layers.0.") != std::string::npos ||
        name.find("layers.1.") != std::string::npos) {
      EXPECT_THAT(stages[i], ElementsAre(0)) << name;
    } else {
      EXPECT_THAT(stages[i], ElementsAre(1)) << name;
    }
  }
  for (const auto& all : weight_stages(program, 1)) EXPECT_THAT(all, ElementsAre(0));
}

}  // namespace
}  // namespace dunlin
