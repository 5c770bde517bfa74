// Mixtures of experts: what each container stores, as the same canonical weights; and files that
// contradict themselves or their configuration.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <memory>
#include <span>
#include <stdexcept>
#include <utility>
#include <vector>

#include "base/counted_source.h"
#include "checkpoint/fingerprint.h"
#include "checkpoint/hf_config.h"
#include "checkpoint/safetensors_reader.h"
#include "checkpoint/stored_checkpoint.h"
#include "formats/weight_box.h"
#include "tiny_model.h"

namespace dunlin {
namespace {

using testing::ElementsAre;

constexpr int64_t kExperts = 3;
constexpr int64_t kWidth = 64;  // D
constexpr int64_t kFfn = 32;    // F

struct Stored {
  std::string dtype;  // of safetensors
  std::vector<int64_t> shape;
  std::string bytes;
};
using Tensors = std::map<std::string, Stored>;

int64_t count_of(const std::vector<int64_t>& shape) {
  int64_t count = 1;
  for (const int64_t extent : shape) count *= extent;
  return count;
}

// 1, 2, 3, .. from `first` on.
Stored counted(std::vector<int64_t> shape, float first) {
  std::vector<float> values;
  for (int64_t i = 0; i < count_of(shape); ++i) values.push_back(first + static_cast<float>(i));
  return {"F32", std::move(shape), raw_floats(values)};
}

// Bytes that differ from each other; `modulo` keeps exponents small.
Stored counted_bytes(std::vector<int64_t> shape, int first, int modulo) {
  std::string bytes;
  for (int64_t i = 0; i < count_of(shape); ++i)
    bytes.push_back(static_cast<char>(first + static_cast<int>((i * 37 + i / 11) % modulo)));
  return {"U8", std::move(shape), bytes};
}

constexpr const char* kLayer = "model.layers.0.";
const std::string kStacks = std::string(kLayer) + "mlp.experts.";

// All but the experts' matrices.
Tensors common_tensors() {
  const std::string attention = std::string(kLayer) + "self_attn.";
  Tensors tensors;
  tensors["model.embed_tokens.weight"] = counted({kVocabulary, kWidth}, 1);
  tensors["model.norm.weight"] = counted({kWidth}, 2);
  tensors["lm_head.weight"] = counted({kVocabulary, kWidth}, 3);
  for (const char* name : {"input_layernorm", "post_attention_layernorm"})
    tensors[fmt::format("{}{}.weight", kLayer, name)] = counted({kWidth}, 4);
  for (const auto& [name, rows] : {std::pair("q_proj", kHeads * kHeadDim),
                                   std::pair("k_proj", kHeadDim), std::pair("v_proj", kHeadDim)}) {
    tensors[fmt::format("{}{}.weight", attention, name)] = counted({rows, kWidth}, 5);
    tensors[fmt::format("{}{}.bias", attention, name)] = counted({rows}, 6);
  }
  tensors[attention + "o_proj.weight"] = counted({kWidth, kHeads * kHeadDim}, 7);
  tensors[attention + "o_proj.bias"] = counted({kWidth}, 8);
  tensors[attention + "sinks"] = counted({kHeads}, 9);
  tensors[std::string(kLayer) + "mlp.router.weight"] = counted({kExperts, kWidth}, 10);
  tensors[std::string(kLayer) + "mlp.router.bias"] = counted({kExperts}, 11);
  tensors[kStacks + "gate_up_proj_bias"] = counted({kExperts, 2 * kFfn}, 12);
  tensors[kStacks + "down_proj_bias"] = counted({kExperts, kWidth}, 13);
  return tensors;
}

Tensors plain_tensors() {
  Tensors tensors = common_tensors();
  tensors[kStacks + "gate_up_proj"] = counted({kExperts, kWidth, 2 * kFfn}, 100);
  tensors[kStacks + "down_proj"] = counted({kExperts, kFfn, kWidth}, 20000);
  return tensors;
}

Tensors mxfp4_tensors() {
  Tensors tensors = common_tensors();
  tensors[kStacks + "gate_up_proj_blocks"] =
      counted_bytes({kExperts, 2 * kFfn, kWidth / 32, 16}, 0, 251);
  tensors[kStacks + "gate_up_proj_scales"] =
      counted_bytes({kExperts, 2 * kFfn, kWidth / 32}, 120, 7);
  tensors[kStacks + "down_proj_blocks"] = counted_bytes({kExperts, kWidth, kFfn / 32, 16}, 3, 241);
  tensors[kStacks + "down_proj_scales"] = counted_bytes({kExperts, kWidth, kFfn / 32}, 119, 9);
  return tensors;
}

std::string config_text() {
  return fmt::format(
      R"({{"model_type": "gpt_oss", "architectures": ["GptOssForCausalLM"], "hidden_size": {},
 "intermediate_size": {}, "num_hidden_layers": 1, "num_attention_heads": {},
 "num_key_value_heads": 1, "head_dim": {}, "vocab_size": {}, "num_local_experts": {},
 "num_experts_per_tok": 2, "sliding_window": 4, "max_position_embeddings": 128,
 "quantization_config": {{"quant_method": "mxfp4", "modules_to_not_convert": ["lm_head"]}}}})",
      kWidth, kFfn, kHeads, kHeadDim, kVocabulary, kExperts);
}

std::string file_of(const Tensors& tensors) {
  std::string header = "{";
  std::string data;
  for (const auto& [name, tensor] : tensors) {
    header +=
        fmt::format(R"({}"{}": {{"dtype": "{}", "shape": [{}], "data_offsets": [{}, {}]}})",
                    header.size() == 1 ? "" : ", ", name, tensor.dtype,
                    fmt::join(tensor.shape, ", "), data.size(), data.size() + tensor.bytes.size());
    data += tensor.bytes;
  }
  return safetensors_file(header + "}", data);
}

Result<std::unique_ptr<Checkpoint>> open_source(const std::shared_ptr<const ByteSource>& source,
                                                const std::string& text) {
  DUNLIN_ASSIGN_OR_RETURN(Metadata config, read_hf_config({"config.json", text}, std::nullopt));
  DUNLIN_ASSIGN_OR_RETURN(auto infos, read_safetensors_header(*source));
  const size_t count = infos.size();
  return make_checkpoint({"model",
                          "safetensors",
                          std::move(config),
                          Metadata("model"),
                          std::move(infos),
                          {count, source}});
}

Result<std::unique_ptr<Checkpoint>> open(const Tensors& tensors,
                                         const std::string& text = config_text()) {
  return open_source(source_of(file_of(tensors), "model.safetensors"), text);
}

std::unique_ptr<Checkpoint> open_ok(const Tensors& tensors) {
  auto opened = open(tensors);
  if (!opened.ok()) throw std::runtime_error(opened.error().message);
  return std::move(opened).value();
}

void expect_mixture_error(const Tensors& tensors, const std::string& problem) {
  expect_model_error([&] { return open(tensors); }, "model.safetensors", problem);
}

void expect_mixture_error(const std::function<void(Tensors&)>& change, const std::string& problem) {
  Tensors tensors = mxfp4_tensors();
  change(tensors);
  expect_mixture_error(tensors, problem);
}

// Element i of counted(.., first).
float element(float first, int64_t i) {
  return first + static_cast<float>(i);
}

TEST(Mixture, UnquantisedExpertsAreTurnedAndParted) {
  const auto checkpoint = open_ok(plain_tensors());
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
  const auto checkpoint = open_ok(plain_tensors());
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
  const auto checkpoint = open_ok(tensors);
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
    const std::string before = fingerprint(*open_ok(tensors)).value();
    char& last = tensors.at(kStacks + name).bytes.back();
    last = static_cast<char>(last ^ 1);
    EXPECT_NE(fingerprint(*open_ok(tensors)).value(), before) << name;
  };
  expect_another(mxfp4_tensors(), "gate_up_proj_blocks");
  expect_another(plain_tensors(), "gate_up_proj");
}

TEST(Mixture, TensorsAreListedAsOne) {
  const auto checkpoint = open_ok(mxfp4_tensors());
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
    const auto checkpoint = open_ok(tensors);
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

// A checkpoint over a file whose reads are counted.
struct CountedFile {
  std::shared_ptr<ReadCount> count = std::make_shared<ReadCount>();
  std::unique_ptr<Checkpoint> checkpoint;

  explicit CountedFile(const Tensors& tensors) {
    const auto file =
        std::make_shared<CountedSource>(source_of(file_of(tensors), "model.safetensors"), count);
    auto opened = open_source(file, config_text());
    if (!opened.ok()) throw std::runtime_error(opened.error().message);
    checkpoint = std::move(opened).value();
    count->bytes = 0;
  }

  WeightView weight(const std::string& name) const { return checkpoint->weight(name).value(); }
};

// Some rows of every expert, or some columns of all rows.
std::vector<WeightBox> boxes_of(int64_t rows, int64_t columns) {
  WeightBox second_half{.rows = {.extent = kExperts * rows / 2},
                        .columns = IndexRuns::all(columns)};
  for (int64_t e = 0; e < kExperts; ++e)
    second_half.rows.runs.push_back({e * rows / 2, e * rows + rows / 2, rows / 2});
  const WeightBox left{.rows = IndexRuns::all(kExperts * rows),
                       .columns = {.extent = columns / 2, .runs = {{0, 0, columns / 2}}}};
  return {second_half, left};
}

// The values of a box, cut out of the whole weight.
std::vector<float> cut_out(const Checkpoint& checkpoint, const std::string& name,
                           const WeightBox& box) {
  const std::vector<float> whole = weight_values(checkpoint, name);
  const int64_t columns = checkpoint.weight(name)->columns;
  std::vector<float> values;
  for (const IndexRun& rows : box.rows.runs) {
    for (int64_t row = rows.begin; row < rows.begin + rows.count; ++row) {
      const auto from = whole.begin() + row * columns + box.columns.runs.front().begin;
      values.insert(values.end(), from, from + box.columns.extent);
    }
  }
  return values;
}

void expect_box(const CountedFile& file, const std::string& name, const WeightBox& box,
                const std::vector<std::byte>& bytes) {
  const WeightView view = file.weight(name);
  ASSERT_EQ(bytes.size(), box_bytes(view, box)) << name;
  std::vector<float> values(static_cast<size_t>(box.rows.extent * box.columns.extent));
  box_form(view, box).decode(bytes.data(), box.rows.extent, values.data());
  EXPECT_EQ(values, cut_out(*file.checkpoint, name, box)) << name;
}

// A device of a mesh has some rows, or columns, of gate and of up, which lie in turn: rows of MXFP4, or
// single numbers of each stored row. It reads both at once, and each byte of its share once.
TEST(Mixture, ADeviceReadsItsShareOfGateAndUpOnce) {
  for (const Tensors& tensors : {mxfp4_tensors(), plain_tensors()}) {
    const CountedFile file(tensors);
    const std::string gate = kStacks + "gate_proj.weight";
    const std::string up = kStacks + "up_proj.weight";
    for (const WeightBox& box : boxes_of(kFfn, kWidth)) {
      std::vector<std::byte> bytes[2];
      file.count->bytes = 0;
      const std::vector<BoxOfWeight> boxes = {{file.weight(gate), box}, {file.weight(up), box}};
      const auto read = read_boxes(boxes, [&](size_t i, std::span<const std::byte> piece) {
        bytes[i].insert(bytes[i].end(), piece.begin(), piece.end());
        return Result<void>();
      });
      ASSERT_TRUE(read.ok()) << read.error().message;
      const uint64_t share = 2 * stored_bytes(boxes[0].view, box);
      // Of columns of MXFP4 whole rows of exponents, twice as many.
      EXPECT_LE(10 * file.count->bytes, 11 * share);
      expect_box(file, gate, box, bytes[0]);
      expect_box(file, up, box, bytes[1]);
    }
  }
}

// Down is stored the other way round, where it is not MXFP4: its columns, which a mesh cuts, are rows.
TEST(Mixture, ADeviceReadsItsShareOfDownOnce) {
  const std::string down = kStacks + "down_proj.weight";
  const CountedFile file(plain_tensors());
  for (const WeightBox& box : boxes_of(kWidth, kFfn)) {
    const WeightView view = file.weight(down);
    std::vector<std::byte> bytes;
    file.count->bytes = 0;
    const auto read = read_box(view, box, [&](std::span<const std::byte> piece) {
      bytes.insert(bytes.end(), piece.begin(), piece.end());
      return Result<void>();
    });
    ASSERT_TRUE(read.ok()) << read.error().message;
    EXPECT_EQ(file.count->bytes.load(), stored_bytes(view, box));
    expect_box(file, down, box, bytes);
  }
}

// Who wants one of the two alone reads no more than its rows of MXFP4, but for the exponents; of single
// numbers both, for they lie next to each other.
TEST(Mixture, OneOfTwoAloneReadsBothAtMost) {
  for (const Tensors& tensors : {mxfp4_tensors(), plain_tensors()}) {
    const CountedFile file(tensors);
    const bool rows_apart = file.weight(kStacks + "up_proj.weight").format == Format::mxfp4;
    for (const char* name : {"gate_proj.weight", "up_proj.weight"}) {
      const WeightView view = file.weight(kStacks + name);
      const WeightBox box = boxes_of(kFfn, kWidth).front();
      std::vector<std::byte> bytes;
      file.count->bytes = 0;
      const auto read = read_box(view, box, [&](std::span<const std::byte> piece) {
        bytes.insert(bytes.end(), piece.begin(), piece.end());
        return Result<void>();
      });
      ASSERT_TRUE(read.ok()) << read.error().message;
      const uint64_t share = stored_bytes(view, box);
      EXPECT_LE(10 * file.count->bytes, (rows_apart ? 11 : 20) * share) << name;
      expect_box(file, kStacks + name, box, bytes);
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

void expect_missing(const Result<std::unique_ptr<Checkpoint>>& checkpoint,
                    const std::string& weight, const std::string& stored) {
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.error().message;
  const auto missing = (*checkpoint)->weight(weight);
  ASSERT_FALSE(missing.ok()) << weight;
  EXPECT_THAT(missing.error().message, testing::HasSubstr("the tensor " + stored + " is missing"));
}

TEST(MixtureContradiction, MissingTensorsHaveTheirStoredNames) {
  Tensors pairs = mxfp4_tensors();
  pairs.erase(kStacks + "gate_up_proj_blocks");
  pairs.erase(kStacks + "gate_up_proj_scales");
  expect_missing(open(pairs), kStacks + "up_proj.weight", kStacks + "gate_up_proj_blocks");
  pairs.erase(kStacks + "down_proj_blocks");
  pairs.erase(kStacks + "down_proj_scales");  // what the configuration says remains
  expect_missing(open(pairs), kStacks + "down_proj.weight", kStacks + "down_proj_blocks");
  Tensors plain = plain_tensors();
  for (const char* name : {"gate_up_proj", "gate_up_proj_bias"}) plain.erase(kStacks + name);
  plain.erase("model.norm.weight");
  expect_missing(open(plain), kStacks + "up_proj.weight", kStacks + "gate_up_proj");
  expect_missing(open(plain), kStacks + "up_proj.bias", kStacks + "gate_up_proj_bias");
  expect_missing(open(plain), "model.norm.weight", "model.norm.weight");
}

// ---- original/ ----

std::string original_config() {
  return fmt::format(
      R"({{"num_hidden_layers": 1, "num_experts": {}, "experts_per_token": 2, "vocab_size": {},
 "hidden_size": {}, "intermediate_size": {}, "swiglu_limit": 7.0, "head_dim": {},
 "num_attention_heads": {}, "num_key_value_heads": 1, "sliding_window": 4,
 "initial_context_length": 64, "rope_theta": 150000, "rope_scaling_factor": 32.0,
 "rope_ntk_alpha": 1, "rope_ntk_beta": 32}})",
      kExperts, kVocabulary, kWidth, kFfn, kHeadDim, kHeads);
}

// The same model under OpenAI's names.
Tensors original_tensors(Tensors tensors) {
  const std::string attention = std::string(kLayer) + "self_attn.";
  const std::pair<std::string, std::string> names[] = {
      {"model.embed_tokens.weight", "embedding.weight"},
      {"model.norm.weight", "norm.scale"},
      {"lm_head.weight", "unembedding.weight"},
      {std::string(kLayer) + "input_layernorm.weight", "block.0.attn.norm.scale"},
      {std::string(kLayer) + "post_attention_layernorm.weight", "block.0.mlp.norm.scale"},
      {attention + "sinks", "block.0.attn.sinks"},
      {attention + "o_proj.weight", "block.0.attn.out.weight"},
      {attention + "o_proj.bias", "block.0.attn.out.bias"},
      {std::string(kLayer) + "mlp.router.weight", "block.0.mlp.gate.weight"},
      {std::string(kLayer) + "mlp.router.bias", "block.0.mlp.gate.bias"},
      {kStacks + "gate_up_proj_bias", "block.0.mlp.mlp1_bias"},
      {kStacks + "down_proj_bias", "block.0.mlp.mlp2_bias"},
      {kStacks + "gate_up_proj_blocks", "block.0.mlp.mlp1_weight.blocks"},
      {kStacks + "gate_up_proj_scales", "block.0.mlp.mlp1_weight.scales"},
      {kStacks + "down_proj_blocks", "block.0.mlp.mlp2_weight.blocks"},
      {kStacks + "down_proj_scales", "block.0.mlp.mlp2_weight.scales"}};
  Tensors renamed;
  for (const auto& [from, to] : names) renamed[to] = tensors.at(from);
  for (const char* kind : {"weight", "bias"}) {
    Stored& all = renamed[std::string("block.0.attn.qkv.") + kind];
    for (const char* name : {"q_proj.", "k_proj.", "v_proj."}) {
      const Stored& part = tensors.at(attention + name + kind);
      if (all.shape.empty()) {
        all = part;
        continue;
      }
      all.shape.front() += part.shape.front();
      all.bytes += part.bytes;
    }
  }
  return renamed;
}

TEST(MixtureOriginal, HasTheWeightsOfThePublishedDirectory) {
  const auto wanted = open_ok(mxfp4_tensors());
  auto opened = open(original_tensors(mxfp4_tensors()), original_config());
  ASSERT_TRUE(opened.ok()) << opened.error().message;
  EXPECT_EQ((*opened)->weights().size(), wanted->weights().size());
  for (const WeightInfo& weight : wanted->weights())
    EXPECT_EQ(weight_values(**opened, weight.name), weight_values(*wanted, weight.name))
        << weight.name;
  const Metadata& config = (*opened)->config();
  EXPECT_EQ(*config.text("rope_scaling.rope_type"), "yarn");
  EXPECT_FALSE(*config.boolean("rope_scaling.truncate"));
  EXPECT_EQ(*config.text("quantization_config.quant_method"), "mxfp4");
  EXPECT_EQ(*config.integer("max_position_embeddings", 1, 1 << 20), 64 * 32);
  EXPECT_EQ(*config.integer("num_local_experts", 1, 100), kExperts);
  EXPECT_EQ(*config.integer("num_experts_per_tok", 1, 100), 2);
}

TEST(MixtureOriginal, Contradictions) {
  Tensors tensors = original_tensors(mxfp4_tensors());
  tensors["block.0.attn.qkv.bias"] = counted({kHeads * kHeadDim}, 1);
  expect_model_error([&] { return open(tensors, original_config()); }, "model.safetensors",
                     "block.0.attn.qkv.bias has the shape [12]; the configuration gives [24]");
  tensors = original_tensors(mxfp4_tensors());
  tensors.erase("block.0.mlp.mlp1_weight.scales");
  expect_model_error([&] { return open(tensors, original_config()); }, "model.safetensors",
                     "block.0.mlp.mlp1_weight.scales is missing");
  tensors = original_tensors(mxfp4_tensors());
  Stored& all = tensors["block.0.attn.qkv.weight"];
  all.dtype = "F8_E4M3";
  all.bytes.resize(all.bytes.size() / 4);
  expect_model_error([&] { return open(tensors, original_config()); }, "model.safetensors",
                     "block.0.attn.qkv.weight holds several weights in F8_E4M3");
}

TEST(MixtureOriginal, MissingTensorsHaveTheirStoredNames) {
  Tensors tensors = original_tensors(mxfp4_tensors());
  for (const char* name : {"mlp.mlp1_weight.blocks", "mlp.mlp1_weight.scales", "attn.qkv.bias"})
    tensors.erase(std::string("block.0.") + name);
  tensors.erase("norm.scale");
  const auto expect = [&](const std::string& weight, const std::string& stored) {
    expect_missing(open(tensors, original_config()), weight, stored);
  };
  expect(kStacks + "gate_proj.weight", "block.0.mlp.mlp1_weight.blocks");
  expect(std::string(kLayer) + "self_attn.k_proj.bias", "block.0.attn.qkv.bias");
  expect("model.layers.7.mlp.router.bias", "block.7.mlp.gate.bias");
  expect("model.norm.weight", "norm.scale");
}

// ---- GGUF ----

GgufBuilder gguf_header() {
  GgufBuilder builder;
  const std::string prefix = "gpt-oss.";
  builder.text("general.architecture", "gpt-oss")
      .u32(prefix + "block_count", 1)
      .u32(prefix + "context_length", 128)
      .u32(prefix + "embedding_length", kWidth)
      .u32(prefix + "feed_forward_length", 7)
      .u32(prefix + "expert_feed_forward_length", kFfn)
      .u32(prefix + "expert_count", kExperts)
      .u32(prefix + "expert_used_count", 2)
      .u32(prefix + "attention.head_count", kHeads)
      .u32(prefix + "attention.head_count_kv", 1)
      .u32(prefix + "attention.key_length", kHeadDim)
      .u32(prefix + "attention.sliding_window", 4)
      .f32(prefix + "attention.layer_norm_rms_epsilon", 0.25f)
      .text(prefix + "rope.scaling.type", "yarn")
      .f32(prefix + "rope.scaling.factor", 16.0f)
      .u32(prefix + "rope.scaling.original_context_length", 64)
      .u32(prefix + "vocab_size", kVocabulary);
  return builder;
}

void add(GgufBuilder& builder, const std::string& name, const Stored& tensor) {
  GgufTensor stored{name, {}, 0, tensor.bytes};
  stored.extents.assign(tensor.shape.rbegin(), tensor.shape.rend());
  builder.tensors.push_back(std::move(stored));
}

GgufBuilder merged_gguf() {
  GgufBuilder builder = gguf_header();
  add(builder, "blk.0.ffn_gate_up_exps.weight", counted({kExperts, 2 * kFfn, kWidth}, 5));
  add(builder, "blk.0.ffn_gate_up_exps.bias", counted({kExperts, 2 * kFfn}, 70));
  return builder;
}

TEST(MixtureGguf, GateAndUpInOneTensorAreHalves) {
  const auto checkpoint = open_gguf_bytes(merged_gguf().build());
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.error().message;
  const auto gate = weight_values(**checkpoint, kStacks + "gate_proj.weight");
  const auto up = weight_values(**checkpoint, kStacks + "up_proj.weight");
  const auto bias = weight_values(**checkpoint, kStacks + "up_proj.bias");
  for (int64_t e = 0; e < kExperts; ++e) {
    for (int64_t i = 0; i < kFfn * kWidth; ++i) {
      const auto at = static_cast<size_t>(e * kFfn * kWidth + i);
      ASSERT_EQ(gate[at], element(5, 2 * e * kFfn * kWidth + i));
      ASSERT_EQ(up[at], element(5, (2 * e + 1) * kFfn * kWidth + i));
    }
    EXPECT_EQ(bias[static_cast<size_t>(e * kFfn)], element(70, (2 * e + 1) * kFfn));
  }
}

TEST(MixtureGguf, KeysBecomeTheConfiguration) {
  const auto checkpoint = open_gguf_bytes(merged_gguf().build());
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.error().message;
  const Metadata& config = (*checkpoint)->config();
  EXPECT_EQ(*config.text("model_type"), "gpt_oss");
  EXPECT_EQ(*config.integer("intermediate_size", 0, 100), kFfn);
  EXPECT_EQ(*config.integer("num_local_experts", 0, 100), kExperts);
  EXPECT_EQ(*config.integer("num_experts_per_tok", 0, 100), 2);
  EXPECT_EQ(*config.integer("sliding_window", 0, 100), 4);
  EXPECT_EQ(*config.text("rope_scaling.rope_type"), "yarn");
  EXPECT_EQ(*config.number("rope_scaling.factor", 1, 100), 16.0);
  EXPECT_EQ(*config.integer("rope_scaling.original_max_position_embeddings", 1, 100), 64);
  EXPECT_FALSE(*config.boolean("rope_scaling.truncate"));
}

TEST(MixtureGguf, MissingTensorsHaveTheirStoredNames) {
  GgufBuilder merged = merged_gguf();
  std::erase_if(merged.tensors,
                [](const GgufTensor& each) { return each.name.ends_with("exps.weight"); });
  const auto expect = [](const GgufBuilder& builder, const std::string& weight,
                         const std::string& stored) {
    expect_missing(open_gguf_bytes(builder.build()), weight, stored + " (" + weight + ")");
  };
  const std::string up = kStacks + "up_proj.weight";
  expect(merged, up, "blk.0.ffn_gate_up_exps.weight");
  expect(gguf_header(), up, "blk.0.ffn_up_exps.weight");
  expect(gguf_header(), kStacks + "down_proj.bias", "blk.0.ffn_down_exps.bias");
}

TEST(MixtureGguf, AFactorWithoutATypeIsYarns) {
  const GgufBuilder builder = merged_gguf().without("gpt-oss.rope.scaling.type");
  const auto checkpoint = open_gguf_bytes(builder.build());
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.error().message;
  const Metadata& config = (*checkpoint)->config();
  EXPECT_EQ(*config.text("rope_scaling.rope_type"), "yarn");
  EXPECT_EQ(*config.number("rope_scaling.factor", 1, 100), 16.0);
}

TEST(MixtureGguf, TheFactorMayHaveItsOldName) {
  GgufBuilder builder = merged_gguf().without("gpt-oss.rope.scaling.factor");
  builder.f32("gpt-oss.rope.scale_linear", 8.0f);
  const auto checkpoint = open_gguf_bytes(builder.build());
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.error().message;
  EXPECT_EQ(*(*checkpoint)->config().number("rope_scaling.factor", 1, 100), 8.0);
}

TEST(MixtureGguf, SaysWhetherYarnIsCut) {
  GgufBuilder builder = merged_gguf();
  builder.set("gpt-oss.rope.scaling.yarn_truncate", kBool, std::string(1, '\1'));
  const auto checkpoint = open_gguf_bytes(builder.build());
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.error().message;
  EXPECT_TRUE(*(*checkpoint)->config().boolean("rope_scaling.truncate"));
}

TEST(MixtureGguf, Contradictions) {
  const auto expect = [](const GgufBuilder& builder, const std::string& problem) {
    expect_model_error([&] { return open_gguf_bytes(builder.build()); }, "tiny.gguf", problem);
  };
  for (const char* key : {"expert_count", "expert_used_count", "attention.sliding_window"})
    expect(merged_gguf().without(std::string("gpt-oss.") + key), std::string(key) + " is missing");
  expect(merged_gguf().u32("gpt-oss.expert_count", 2),
         "ffn_gate_up_exps.weight has the shape [3, 64, 64]; the configuration gives [2, 64, 64]");
  GgufBuilder quantised = gguf_header();
  GgufTensor bias{
      "blk.0.ffn_gate_up_exps.bias", {2 * kFfn, kExperts}, 8, std::string(6 * 34, '\0')};
  quantised.tensors.push_back(bias);
  expect(quantised, "is in Q8_0, which cannot be put in order");
  GgufBuilder dense = merged_gguf();
  add(dense, "blk.0.ffn_gate.weight", counted({kFfn, kWidth}, 0));
  expect(dense, "blk.0.ffn_gate.weight is not part of a gpt_oss model");
}

// ---- GGUF of ollama ----

// The keys that its converter writes.
GgufBuilder ollama_header() {
  GgufBuilder builder;
  const std::string prefix = "gptoss.";
  builder.text("general.architecture", "gptoss")
      .u32(prefix + "block_count", 1)
      .u32(prefix + "context_length", 128)
      .u32(prefix + "embedding_length", kWidth)
      .u32(prefix + "feed_forward_length", kFfn)
      .u32(prefix + "expert_count", kExperts)
      .u32(prefix + "expert_used_count", 2)
      .u32(prefix + "attention.head_count", kHeads)
      .u32(prefix + "attention.head_count_kv", 1)
      .u32(prefix + "attention.key_length", kHeadDim)
      .u32(prefix + "attention.value_length", kHeadDim)
      .f32(prefix + "attention.layer_norm_rms_epsilon", 1e-5f)
      .u32(prefix + "attention.sliding_window", 4)
      .f32(prefix + "rope.freq_base", 150000.0f)
      .f32(prefix + "rope.scaling.factor", 32.0f)
      .u32(prefix + "rope.scaling.original_context_length", 64)
      .u32("tokenizer.ggml.eos_token_id", 7)
      .array("tokenizer.ggml.eos_token_ids", kI32, 3,
             raw<int32_t>(7) + raw<int32_t>(9) + raw<int32_t>(11));
  return builder;
}

GgufBuilder ollama_gguf(const Tensors& tensors) {
  GgufBuilder builder = ollama_header();
  const std::string layer = kLayer;
  const std::string attention = layer + "self_attn.";
  const std::pair<std::string, std::string> names[] = {
      {"model.embed_tokens.weight", "token_embd.weight"},
      {"model.norm.weight", "output_norm.weight"},
      {"lm_head.weight", "output.weight"},
      {layer + "input_layernorm.weight", "blk.0.attn_norm.weight"},
      {layer + "post_attention_layernorm.weight", "blk.0.ffn_norm.weight"},
      {attention + "sinks", "blk.0.attn_sinks"},
      {attention + "o_proj.weight", "blk.0.attn_out.weight"},
      {attention + "o_proj.bias", "blk.0.attn_out.bias"},
      {layer + "mlp.router.weight", "blk.0.ffn_gate_inp.weight"},
      {layer + "mlp.router.bias", "blk.0.ffn_gate_inp.bias"},
      {kStacks + "down_proj_bias", "blk.0.ffn_down_exps.bias"}};
  for (const auto& [from, to] : names) add(builder, to, tensors.at(from));
  return builder;
}

void expect_weights_of_pairs(const GgufBuilder& builder) {
  const auto wanted = open_ok(mxfp4_tensors());
  const auto opened = open_gguf_bytes(builder.build());
  ASSERT_TRUE(opened.ok()) << opened.error().message;
  EXPECT_EQ((*opened)->weights().size(), wanted->weights().size());
  for (const WeightInfo& weight : wanted->weights())
    EXPECT_EQ(weight_values(**opened, weight.name), weight_values(*wanted, weight.name))
        << weight.name;
}

// Type 4: an exponent, then the codes as safetensors has them.
std::string blocks_of_type_4(const Tensors& tensors, const std::string& pair) {
  const std::string& codes = tensors.at(pair + "_blocks").bytes;
  std::string bytes;
  for (const char exponent : tensors.at(pair + "_scales").bytes) {
    bytes += exponent;
    bytes += codes.substr(bytes.size() / 17 * 16, 16);
  }
  return bytes;
}

GgufBuilder first_ollama_gguf() {
  const Tensors tensors = mxfp4_tensors();
  const Tensors original = original_tensors(tensors);
  GgufBuilder builder = ollama_gguf(tensors);
  for (const std::string kind : {"weight", "bias"})
    add(builder, "blk.0.attn_qkv." + kind, original.at("block.0.attn.qkv." + kind));
  builder.tensors.push_back({"blk.0.ffn_gate_up_exps.weight",
                             {kWidth, 2 * kFfn, kExperts},
                             4,
                             blocks_of_type_4(tensors, kStacks + "gate_up_proj")});
  add(builder, "blk.0.ffn_gate_up_exps.bias", tensors.at(kStacks + "gate_up_proj_bias"));
  builder.tensors.push_back({"blk.0.ffn_down_exps.weight",
                             {kFfn, kWidth, kExperts},
                             4,
                             blocks_of_type_4(tensors, kStacks + "down_proj")});
  return builder;
}

TEST(MixtureOllama, TheFirstConvertersFile) {
  expect_weights_of_pairs(first_ollama_gguf());
}

TEST(MixtureOllama, TheSecondConvertersFile) {
  const Tensors tensors = mxfp4_tensors();
  GgufBuilder builder = ollama_gguf(tensors);
  for (const std::string name : {"q", "k", "v"}) {
    for (const std::string kind : {".weight", ".bias"})
      add(builder, "blk.0.attn_" + name + kind,
          tensors.at(std::string(kLayer) + "self_attn." + name + "_proj" + kind));
  }
  const auto pairs = open_ok(tensors);
  for (const std::string name : {"gate", "up", "down"}) {
    const WeightView view = pairs->weight(kStacks + name + "_proj.weight").value();
    std::vector<std::byte> blocks(static_cast<size_t>(view.rows * view.bytes_per_row()));
    ASSERT_TRUE(view.read_rows(0, view.rows, blocks).ok());
    builder.tensors.push_back(
        {"blk.0.ffn_" + name + "_exps.weight",
         {static_cast<uint64_t>(view.columns), static_cast<uint64_t>(view.rows / kExperts),
          kExperts},
         39,
         std::string(reinterpret_cast<const char*>(blocks.data()), blocks.size())});
    if (name == "down") continue;
    const std::vector<float> bias = weight_values(*pairs, kStacks + name + "_proj.bias");
    add(builder, "blk.0.ffn_" + name + "_exps.bias", {"F32", {kExperts, kFfn}, raw_floats(bias)});
  }
  expect_weights_of_pairs(builder);
}

TEST(MixtureOllama, KeysBecomeTheConfiguration) {
  const auto checkpoint = open_gguf_bytes(first_ollama_gguf().build());
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.error().message;
  const Metadata& config = (*checkpoint)->config();
  EXPECT_EQ(*config.text("model_type"), "gpt_oss");
  EXPECT_EQ(*config.integer("intermediate_size", 0, 100), kFfn);
  EXPECT_EQ(*config.text("rope_scaling.rope_type"), "yarn");
  EXPECT_FALSE(*config.boolean("rope_scaling.truncate"));
  EXPECT_EQ(std::get<std::vector<int64_t>>(*config.find("eos_token_id")),
            (std::vector<int64_t>{7, 9, 11}));
}

TEST(MixtureOllama, MissingTensorsHaveTheirStoredNames) {
  const std::string attention = std::string(kLayer) + "self_attn.";
  const auto expect = [](const GgufBuilder& builder, const std::string& weight,
                         const std::string& stored) {
    expect_missing(open_gguf_bytes(builder.build()), weight, stored + " (" + weight + ")");
  };
  expect(ollama_header().u32("gptoss.vocab_size", kVocabulary), attention + "o_proj.bias",
         "blk.0.attn_out.bias");
  GgufBuilder builder = first_ollama_gguf();
  std::erase_if(builder.tensors,
                [](const GgufTensor& each) { return each.name == "blk.0.attn_qkv.bias"; });
  expect(builder, attention + "v_proj.bias", "blk.0.attn_qkv.bias");
}

TEST(MixtureOllama, Contradictions) {
  const auto expect = [](const GgufBuilder& builder, const std::string& problem) {
    expect_model_error([&] { return open_gguf_bytes(builder.build()); }, "tiny.gguf", problem);
  };
  GgufBuilder twice = first_ollama_gguf();
  add(twice, "blk.0.attn_output.bias", counted({kWidth}, 0));
  expect(twice, "holds model.layers.0.self_attn.o_proj.bias, and so does blk.0.attn_out.bias");
  expect(first_ollama_gguf().u32("gptoss.expert_count", 2), "the configuration gives [2");
  expect(first_ollama_gguf().text("tokenizer.ggml.eos_token_ids", "7"),
         "tokenizer.ggml.eos_token_ids is not a list of at most 1000 ids");
  // Type 4 and these names belong to ollama's files.
  expect(first_ollama_gguf().text("general.architecture", "gpt-oss"), "the unknown type 4");
  GgufBuilder other = gguf_header();
  add(other, "blk.0.attn_sinks", counted({kHeads}, 0));
  expect(other, "blk.0.attn_sinks is not part of a gpt_oss model");
}

}  // namespace
}  // namespace dunlin
