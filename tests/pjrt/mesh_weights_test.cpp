// What a device holds of a weight, as it is read for it.
#include <gtest/gtest.h>

#include <cstring>
#include <iterator>
#include <span>
#include <string>
#include <vector>

#include "backend/pjrt/weights.h"
#include "backend/weight_share.h"
#include "case_runner.h"
#include "program/ops.h"

namespace dunlin::pjrt {
namespace {

// A column-parallel and a row-parallel matrix and a vector of ffn 96.
Program two_matrices() {
  return record("two_matrices", {},
                [](Recorder& r) {
                  const AxisList width = {{Axis::embed, 64}};
                  const AxisList ffn = {{Axis::ffn, 96}};
                  const Tensor table = r.weights().matrix("table", {{Axis::vocab, 8}}, width);
                  const Tensor up =
                      linear(embed(r.tokens(), table), r.weights().matrix("up", ffn, width),
                             r.weights().vector("bias", ffn));
                  r.output("result", linear(up, r.weights().matrix("down", width, ffn)));
                })
      .value();
}

std::vector<float> floats(const std::vector<std::byte>& bytes) {
  std::vector<float> values(bytes.size() / sizeof(float));
  std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

// Elements of the whole where the share says that they are, and zeros.
std::vector<float> cut_out(const std::vector<float>& whole, int64_t columns,
                           const WeightBox& share) {
  std::vector<float> part(static_cast<size_t>(share.rows.extent * share.columns.extent), 0.0f);
  for (const IndexRun& rows : share.rows.runs) {
    for (const IndexRun& run : share.columns.runs) {
      for (int64_t i = 0; i < rows.count; ++i) {
        for (int64_t j = 0; j < run.count; ++j) {
          part[static_cast<size_t>((rows.at + i) * share.columns.extent + run.at + j)] =
              whole[static_cast<size_t>((rows.begin + i) * columns + run.begin + j)];
        }
      }
    }
  }
  return part;
}

TEST(MeshWeights, SharesAreTheValuesOfTheWholeWeight) {
  const Program program = two_matrices();
  for (const Format format : {Format::f32, Format::bf16, Format::q8_0, Format::mxfp4}) {
    const WeightSource source = case_weights(program, format);
    for (const MeshShape& shape : {MeshShape{.model = 2}, MeshShape{.data = 2, .model = 4}}) {
      const auto sharding = shard_program(program, source, shape, /*splits_batch=*/true);
      ASSERT_TRUE(sharding.ok()) << sharding.error().message;
      for (size_t i = 0; i < program.weights.size(); ++i) {
        const WeightView view = source(program.weights[i].name).value();
        const auto whole = read_weight(view, Element::f32);
        ASSERT_TRUE(whole.ok()) << whole.error().message;
        const WeightDeclaration declaration =
            declaration_of(program.weights[i], (*sharding)->weights[i]);
        for (int64_t device = 0; device < shape.devices(); ++device) {
          const Coordinates place = coordinates_of((*sharding)->mesh(), device);
          const auto share = weight_share(declaration, view, (*sharding)->sharding, place);
          ASSERT_TRUE(share.ok()) << share.error().message;
          const auto read = read_share(view, *share, Element::f32);
          ASSERT_TRUE(read.ok()) << read.error().message;
          EXPECT_EQ(floats(*read), cut_out(floats(*whole), view.columns, *share))
              << view.name << " as " << traits(format).name << " on device " << device << " of "
              << to_string(shape);
          const WeightUse use{static_cast<WeightId>(i), {}};
          EXPECT_EQ(static_cast<int64_t>(read->size()),
                    weight_bytes(program, use, sharding->get()));
        }
      }
    }
  }
}

// Whole groups on every device, as many as its arrays have, zeros where its part is padded.
TEST(MeshWeights, PackedSharesFillTheArraysOfADevice) {
  const Program program = two_matrices();
  const auto pool = ThreadPool::create(2);
  ASSERT_TRUE(pool.ok());
  for (const Format format :
       {Format::q4_0, Format::q4_1, Format::q8_0, Format::i8, Format::mxfp4}) {
    const WeightSource source = case_weights(program, format);
    const DeviceForm form = matrix_form(format, Precision::automatic, Platform::cpu);
    for (const MeshShape& shape : {MeshShape{.model = 2}, MeshShape{.data = 2, .model = 4}}) {
      const auto sharding = shard_program(program, source, shape, /*splits_batch=*/true);
      ASSERT_TRUE(sharding.ok()) << sharding.error().message;
      for (size_t i = 0; i < program.weights.size(); ++i) {
        if (program.weights[i].name != "up" && program.weights[i].name != "down") continue;
        const WeightUse use{static_cast<WeightId>(i), form};
        const WeightView view = source(program.weights[i].name).value();
        const std::vector<TensorType> types = weight_types(program, use, sharding->get());
        const WeightDeclaration declaration =
            declaration_of(program.weights[i], (*sharding)->weights[i]);
        for (int64_t device = 0; device < shape.devices(); ++device) {
          const Coordinates place = coordinates_of((*sharding)->mesh(), device);
          const WeightBox share =
              weight_share(declaration, view, (*sharding)->sharding, place).value();
          const auto arrays = read_arrays(view, share, use, types, **pool);
          ASSERT_TRUE(arrays.ok()) << arrays.error().message;
          ASSERT_EQ(arrays->size(), types.size());
          for (size_t k = 0; k < types.size(); ++k)
            EXPECT_EQ(std::ssize((*arrays)[k]), types[k].bytes()) << view.name << ", " << k;
        }
      }
    }
  }
}

// A device holds no more than its part, but for what all have.
TEST(MeshWeights, PartsAreAsSmallAsTheMeshIsLarge) {
  const Program program = two_matrices();
  const WeightSource source = case_weights(program, Format::f32);
  const auto sharding = shard_program(program, source, {.data = 2, .model = 4}, true).value();
  for (size_t i = 0; i < program.weights.size(); ++i) {
    const WeightUse use{static_cast<WeightId>(i), {}};
    EXPECT_EQ(4 * weight_bytes(program, use, sharding.get()), weight_bytes(program, use))
        << program.weights[i].name;
  }
}

TEST(MeshWeights, AShareThatWouldCutABlockIsRefused) {
  const Program program =
      record("o", {}, [](Recorder& r) {
        const AxisList heads = {{Axis::kv_heads, 2}, {Axis::head_dim, 16}};
        const Tensor table = r.weights().matrix("inputs.x", {{Axis::vocab, 8}}, heads);
        const AxisList width = {{Axis::embed, 8}};
        r.output("y", linear(embed(r.tokens(), table), r.weights().matrix("o", width, heads)));
      }).value();
  const auto refused =
      shard_program(program, case_weights(program, Format::q8_0), {.model = 2}, true);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().kind, ErrorKind::usage);
  EXPECT_NE(refused.error().message.find("o is stored as Q8_0 in blocks of 32"), std::string::npos)
      << refused.error().message;
}

}  // namespace
}  // namespace dunlin::pjrt
