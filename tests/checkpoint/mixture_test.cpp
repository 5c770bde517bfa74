// Mixtures of experts in safetensors: what a directory stores, as canonical weights; and files that
// contradict themselves or their configuration.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <functional>
#include <utility>
#include <vector>

#include "checkpoint/fingerprint.h"
#include "tiny_mixture.h"

namespace dunlin {
namespace {

using testing::ElementsAre;

void expect_mixture_error(const Tensors& tensors, const std::string& problem) {
  expect_model_error([&] { return open_mixture(tensors); }, "model.safetensors", problem);
}

void expect_mixture_error(const std::function<void(Tensors&)>& change, const std::string& problem) {
  Tensors tensors = mxfp4_tensors();
  change(tensors);
  expect_mixture_error(tensors, problem);
}

TEST(Mixture, UnquantisedExpertsAreTurnedAndParted) {
  const auto checkpoint = opened_mixture(plain_tensors());
  const auto gate = weight_values(*checkpoint, kStacks + "gate_proj.weight");
  const auto up = weight_values(*checkpoint, kStacks + "up_proj.weight");
  const auto down = weight_values(*checkpoint, kStacks + "down_proj.weight");
  ASSERT_EQ(gate.size(), static_cast<size_t>(kExperts * kFfn * kWidth));
  EXPECT_TRUE(checkpoint->weight(kStacks + "down_proj.weight")->columns_apart);
  EXPECT_FALSE(checkpoint->weight(kStacks + "down_proj.bias")->columns_apart);
  size_t at = 0;
  for (int64_t e = 0; e < kExperts; ++e) {
    for (int64_t f = 0; f < kFfn; ++f) {
      for (int64_t d = 0; d < kWidth; ++d, ++at) {
        const int64_t pair = (e * kWidth + d) * 2 * kFfn + 2 * f;
        ASSERT_EQ(gate[at], element(100, pair)) << e << ' ' << f << ' ' << d;
        ASSERT_EQ(up[at], element(100, pair + 1)) << e << ' ' << f << ' ' << d;
        const auto other = static_cast<size_t>((e * kWidth + d) * kFfn + f);
        ASSERT_EQ(down[other], element(20000, (e * kFfn + f) * kWidth + d));
      }
    }
  }
}

TEST(Mixture, BiasesAreParted) {
  const auto checkpoint = opened_mixture(plain_tensors());
  const auto gate = weight_values(*checkpoint, kStacks + "gate_proj.bias");
  const auto up = weight_values(*checkpoint, kStacks + "up_proj.bias");
  for (int64_t i = 0; i < kExperts * kFfn; ++i) {
    EXPECT_EQ(gate[static_cast<size_t>(i)], element(12, 2 * i));
    EXPECT_EQ(up[static_cast<size_t>(i)], element(12, 2 * i + 1));
  }
  EXPECT_EQ(weight_values(*checkpoint, kStacks + "down_proj.bias").back(),
            element(13, kExperts * kWidth - 1));
  EXPECT_THAT(weight_values(*checkpoint, std::string(kLayer) + "self_attn.sinks"),
              ElementsAre(9, 10));
}

// The value of element (row, k) of blocks and scales as they are stored.
float stored_value(const Stored& blocks, const Stored& scales, int64_t row, int64_t k) {
  constexpr float kValues[] = {0, 0.5f, 1, 1.5f, 2, 3, 4, 6};
  const int64_t groups = scales.shape.back();
  const int64_t group = row * groups + k / 32;
  const auto byte =
      static_cast<unsigned char>(blocks.bytes[static_cast<size_t>(16 * group + k % 32 / 2)]);
  const int code = k % 2 == 0 ? byte & 15 : byte >> 4;
  const int exponent = static_cast<unsigned char>(scales.bytes[static_cast<size_t>(group)]);
  const float magnitude = std::ldexp(kValues[code & 7], exponent - 127);
  return code > 7 ? -magnitude : magnitude;
}

TEST(Mixture, PairsOfBytesAreMxfp4) {
  const Tensors tensors = mxfp4_tensors();
  const auto checkpoint = opened_mixture(tensors);
  const Stored& blocks = tensors.at(kStacks + "gate_up_proj_blocks");
  const Stored& scales = tensors.at(kStacks + "gate_up_proj_scales");
  const auto gate = weight_values(*checkpoint, kStacks + "gate_proj.weight");
  const auto up = weight_values(*checkpoint, kStacks + "up_proj.weight");
  EXPECT_EQ(checkpoint->weight(kStacks + "up_proj.weight")->format, Format::mxfp4);
  EXPECT_FALSE(checkpoint->weight(kStacks + "up_proj.weight")->columns_apart);
  for (int64_t row = 0; row < kExperts * kFfn; ++row) {
    for (int64_t k = 0; k < kWidth; ++k) {
      const auto at = static_cast<size_t>(row * kWidth + k);
      ASSERT_EQ(gate[at], stored_value(blocks, scales, 2 * row, k)) << row << ' ' << k;
      ASSERT_EQ(up[at], stored_value(blocks, scales, 2 * row + 1, k)) << row << ' ' << k;
    }
  }
  const auto down = weight_values(*checkpoint, kStacks + "down_proj.weight");
  EXPECT_EQ(down[77], stored_value(tensors.at(kStacks + "down_proj_blocks"),
                                   tensors.at(kStacks + "down_proj_scales"), 77 / kFfn, 77 % kFfn));
}

TEST(Mixture, TheFingerprintLooksAtTheLastExpertToo) {
  const auto expect_another = [](Tensors tensors, const std::string& name) {
    const std::string before = fingerprint(*opened_mixture(tensors)).value();
    char& last = tensors.at(kStacks + name).bytes.back();
    last = static_cast<char>(last ^ 1);
    EXPECT_NE(fingerprint(*opened_mixture(tensors)).value(), before) << name;
  };
  expect_another(mxfp4_tensors(), "gate_up_proj_blocks");
  expect_another(plain_tensors(), "gate_up_proj");
}

TEST(Mixture, TensorsAreListedAsOne) {
  const auto checkpoint = opened_mixture(mxfp4_tensors());
  size_t found = 0;
  for (const TensorInfo& tensor : checkpoint->tensors()) {
    EXPECT_FALSE(tensor.name.ends_with("_scales"));
    if (tensor.name != kStacks + "gate_up_proj_blocks") continue;
    ++found;
    EXPECT_EQ(tensor.format, Format::mxfp4);
    EXPECT_THAT(tensor.shape, ElementsAre(kExperts, 2 * kFfn, kWidth));
    EXPECT_EQ(tensor.bytes, static_cast<uint64_t>(kExperts * 2 * kFfn * kWidth / 32 * 17));
    ASSERT_TRUE(tensor.exponents.has_value());
    EXPECT_EQ(tensor.exponents->name, kStacks + "gate_up_proj_scales");
    EXPECT_EQ(tensor.exponents->bytes, tensor.bytes / 17);
  }
  EXPECT_EQ(found, 1u);
  for (const WeightInfo& weight : checkpoint->weights()) {
    if (weight.name != kStacks + "down_proj.weight") continue;
    EXPECT_THAT(weight.shape, ElementsAre(kExperts, kWidth, kFfn));
    EXPECT_EQ(checkpoint->tensors()[weight.tensor].name, kStacks + "down_proj_blocks");
  }
}

// Any piece of where a weight lies, whatever its borders, has the bytes that it has within the whole; and
// its rows are there, by themselves or in turn with those of another weight.
TEST(Mixture, PiecesAreThoseOfTheWhole) {
  for (const Tensors& tensors : {mxfp4_tensors(), plain_tensors()}) {
    const auto checkpoint = opened_mixture(tensors);
    for (const char* name :
         {"gate_proj.weight", "up_proj.weight", "down_proj.weight", "up_proj.bias"}) {
      const WeightView view = checkpoint->weight(kStacks + name).value();
      std::vector<std::byte> whole(view.source->size() - view.offset);
      ASSERT_TRUE(view.source->read_at(view.offset, whole).ok());
      for (const auto& [from, length] : {std::pair(0, 1), std::pair(1, 40), std::pair(16, 18),
                                         std::pair(33, 300), std::pair(100, 34)}) {
        if (from + length > static_cast<int>(whole.size())) continue;
        std::vector<std::byte> piece(static_cast<size_t>(length));
        const auto read = view.source->read_at(view.offset + static_cast<uint64_t>(from), piece);
        ASSERT_TRUE(read.ok()) << read.error().message;
        EXPECT_TRUE(std::equal(piece.begin(), piece.end(), whole.begin() + from))
            << name << " from " << from;
      }
      std::vector<std::byte> behind(8);
      EXPECT_FALSE(view.source->read_at(view.source->size(), behind).ok()) << name;
      const auto bytes = static_cast<size_t>(view.bytes_per_row());
      std::vector<std::byte> rows(static_cast<size_t>(view.rows) * bytes);
      ASSERT_TRUE(view.read_rows(0, view.rows, rows).ok());
      for (int64_t row = 0; row < view.rows; ++row) {
        const auto stored =
            static_cast<ptrdiff_t>(view.row_map.stored_row(row)) * static_cast<ptrdiff_t>(bytes);
        const auto from =
            rows.begin() + static_cast<ptrdiff_t>(row) * static_cast<ptrdiff_t>(bytes);
        EXPECT_TRUE(std::equal(from, from + static_cast<ptrdiff_t>(bytes), whole.begin() + stored))
            << name << ", row " << row;
      }
    }
  }
}

TEST(MixtureContradiction, PairsThatAreNone) {
  expect_mixture_error(
      [](Tensors& t) { t.erase(kStacks + "down_proj_scales"); },
      kStacks + "down_proj_blocks is half of a pair: " + kStacks + "down_proj_scales is missing");
  expect_mixture_error([](Tensors& t) { t.erase(kStacks + "down_proj_blocks"); },
                       kStacks + "down_proj_blocks is missing");
  expect_mixture_error(
      [](Tensors& t) {
        t[kStacks + "down_proj_blocks"] = counted_bytes({kExperts, kWidth, kFfn / 32, 8}, 0, 9);
      },
      "end in 16 bytes");
  expect_mixture_error(
      [](Tensors& t) {
        const int64_t many = int64_t{1} << 60;
        t[kStacks + "down_proj_blocks"] = {"U8", {0, many, 16}, ""};
        t[kStacks + "down_proj_scales"] = {"U8", {0, many}, ""};
      },
      "down_proj_blocks has the shape [0, 1152921504606846976, 16] and no blocks");
  expect_mixture_error(
      [](Tensors& t) {
        t[kStacks + "down_proj_scales"] = counted_bytes({kExperts, kWidth, 2}, 0, 9);
      },
      kStacks + "down_proj_scales has the shape [3, 64, 2], and");
  expect_mixture_error([](Tensors& t) { t["x_blocks"] = counted_bytes({16}, 0, 9); },
                       "x_scales is missing");
}

TEST(MixtureContradiction, ShapesAgainstTheConfiguration) {
  // Another number of experts; one width for another.
  expect_mixture_error(
      [](Tensors& t) {
        t[kStacks + "down_proj_blocks"] = counted_bytes({4, kWidth, kFfn / 32, 16}, 0, 9);
        t[kStacks + "down_proj_scales"] = counted_bytes({4, kWidth, kFfn / 32}, 0, 9);
      },
      "down_proj_blocks has the shape [4, 64, 32]; the configuration gives [3, 64, 32]");
  expect_mixture_error(
      [](Tensors& t) {
        t[kStacks + "gate_up_proj_blocks"] = counted_bytes({kExperts, kFfn, kWidth / 32, 16}, 0, 9);
        t[kStacks + "gate_up_proj_scales"] = counted_bytes({kExperts, kFfn, kWidth / 32}, 0, 9);
      },
      "gate_up_proj_blocks has the shape [3, 32, 64]; the configuration gives [3, 64, 64]");
  expect_mixture_error(
      [](Tensors& t) { t[kStacks + "gate_up_proj_bias"] = counted({kExperts, kFfn}, 0); },
      "gate_up_proj_bias has the shape [3, 32]; the configuration gives [3, 64]");
  expect_mixture_error(
      [](Tensors& t) { t[std::string(kLayer) + "self_attn.sinks"] = counted({1}, 0); },
      "self_attn.sinks has the shape [1]; the configuration gives [2]");
  Tensors plain = plain_tensors();
  plain[kStacks + "down_proj"] = counted({kExperts, kWidth, kFfn}, 0);
  expect_mixture_error(plain,
                       "down_proj has the shape [3, 64, 32]; the configuration gives [3, 32, 64]");
}

TEST(MixtureContradiction, OneWeightTwice) {
  expect_mixture_error(
      [](Tensors& t) { t[kStacks + "down_proj"] = counted({kExperts, kFfn, kWidth}, 0); },
      "holds " + kStacks + "down_proj.weight, and so does");
}

TEST(MixtureContradiction, BytesThatAreNoNumbers) {
  expect_mixture_error(
      [](Tensors& t) { t[std::string(kLayer) + "mlp.router.bias"] = counted_bytes({3}, 0, 9); },
      "mlp.router.bias is stored as U8");
}

TEST(MixtureContradiction, MissingTensorsHaveTheirStoredNames) {
  Tensors pairs = mxfp4_tensors();
  pairs.erase(kStacks + "gate_up_proj_blocks");
  pairs.erase(kStacks + "gate_up_proj_scales");
  expect_missing(open_mixture(pairs), kStacks + "up_proj.weight", kStacks + "gate_up_proj_blocks");
  pairs.erase(kStacks + "down_proj_blocks");
  pairs.erase(kStacks + "down_proj_scales");  // what the configuration says remains
  expect_missing(open_mixture(pairs), kStacks + "down_proj.weight", kStacks + "down_proj_blocks");
  Tensors plain = plain_tensors();
  for (const char* name : {"gate_up_proj", "gate_up_proj_bias"}) plain.erase(kStacks + name);
  plain.erase("model.norm.weight");
  expect_missing(open_mixture(plain), kStacks + "up_proj.weight", kStacks + "gate_up_proj");
  expect_missing(open_mixture(plain), kStacks + "up_proj.bias", kStacks + "gate_up_proj_bias");
  expect_missing(open_mixture(plain), "model.norm.weight", "model.norm.weight");
}

}  // namespace
}  // namespace dunlin
