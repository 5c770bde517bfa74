// The importance of inputs against the reference values of a golden model, and the same sums however
// the text is put into steps.
#include "eval/importance.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "eval/evaluate.h"
#include "formats/weight_view.h"
#include "parity/array_file.h"
#include "support/text_model_folder.h"

namespace dunlin {
namespace {

using Squares = std::map<std::string, InputSquares>;

constexpr size_t kExperts = 6;  // of gpt_oss_bf16

// Over windows of all ids but the last.
Squares measured(const std::string& model_path, const std::vector<int32_t>& ids, int64_t window,
                 const ModelOptions& base = {}) {
  const Corpus corpus{.ids = ids, .vocabulary = 160};
  const WindowPlan plan =
      plan_windows(std::ssize(ids), {.window = window, .stride = window}).value();
  const auto measurement = ImportanceMeasurement::prepare(model_path).value();
  ModelOptions options = eval_model_options(base, plan, corpus.vocabulary);
  options.watch = measurement.watch();
  const auto model = load_model(model_path, options).value();
  const auto result =
      evaluate(*model, nullptr, corpus, plan, [](const EvalProgress&) { return Result<void>(); });
  EXPECT_TRUE(result.ok());
  return measurement.squares();
}

std::vector<double> squares_of_columns(const Array& rows) {
  const auto columns = static_cast<size_t>(rows.shape.back());
  std::vector<double> sums(columns);
  for (size_t i = 0; i < rows.floats.size(); ++i)
    sums[i % columns] += static_cast<double>(rows.floats[i]) * static_cast<double>(rows.floats[i]);
  return sums;
}

void expect_near(const InputSquares& measured, const std::vector<double>& expected,
                 const std::vector<int64_t>& rows) {
  EXPECT_EQ(measured.rows, rows);
  ASSERT_EQ(measured.sums.size(), expected.size());
  for (size_t k = 0; k < expected.size(); ++k)
    EXPECT_NEAR(measured.sums[k], expected[k], 1e-4 * (1 + expected[k])) << k;
}

TEST(Importance, IsThatOfTheReferenceValues) {
  const auto golden = ArrayFile::open(test_data("data/llama_plain/golden.safetensors")).value();
  std::vector<int32_t> ids = golden.read("input_ids")->integers;
  const auto rows = std::ssize(ids);
  ids.push_back(0);
  for (const char* container : {"data/llama_plain/model", "data/llama_plain/model.gguf"}) {
    SCOPED_TRACE(container);
    const Squares squares =
        measured(test_data(container), ids, rows + 1, {.precision = Precision::f32});
    const auto of = [&](const char* weight) -> const InputSquares& {
      return squares.at("model.layers.1." + std::string(weight) + ".weight");
    };
    const std::vector<double> attention = squares_of_columns(golden.read("norm1.1").value());
    for (const char* weight : {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"})
      expect_near(of(weight), attention, {rows});
    const std::vector<double> feed_forward = squares_of_columns(golden.read("norm2.1").value());
    for (const char* weight : {"mlp.gate_proj", "mlp.up_proj"})
      expect_near(of(weight), feed_forward, {rows});
    Array gated = golden.read("gate.1").value();
    const Array up = golden.read("up.1").value();
    for (size_t i = 0; i < gated.floats.size(); ++i)
      gated.floats[i] *= up.floats[i] / (1.0f + std::exp(-gated.floats[i]));
    expect_near(of("mlp.down_proj"), squares_of_columns(gated), {rows});
    EXPECT_TRUE(squares.contains("model.layers.0.self_attn.o_proj.weight"));
  }
}

// Of the inputs of the experts' down projections in layer 1, by expert and column: the clamped product
// of gate and up of GPT-OSS's model card, in float64.
std::vector<double> hidden_squares(const std::string& model, const Array& inputs,
                                   const Array& routes) {
  constexpr double kAlpha = 1.702;
  constexpr double kLimit = 7.0;
  const auto checkpoint = open_checkpoint(model).value();
  const auto values_of = [&checkpoint](const std::string& name) {
    const WeightView view = checkpoint->weight("model.layers.1.mlp.experts." + name).value();
    std::vector<std::byte> bytes(static_cast<size_t>(view.rows * view.bytes_per_row()));
    EXPECT_TRUE(view.read_rows(0, view.rows, bytes).ok());
    std::vector<float> values(static_cast<size_t>(view.rows * view.columns));
    view.row_form().decode(bytes.data(), view.rows, values.data());
    return values;
  };
  const std::vector<float> gate = values_of("gate_proj.weight");
  const std::vector<float> up = values_of("up_proj.weight");
  const std::vector<float> gate_bias = values_of("gate_proj.bias");
  const std::vector<float> up_bias = values_of("up_proj.bias");
  const auto width = static_cast<size_t>(inputs.shape.back());
  const auto each = static_cast<size_t>(routes.shape.back());
  const size_t ffn = gate_bias.size() / kExperts;
  std::vector<double> sums(gate_bias.size());
  for (size_t i = 0; i < routes.integers.size(); ++i) {
    const size_t first = static_cast<size_t>(routes.integers[i]) * ffn;
    const float* const x = inputs.floats.data() + i / each * width;
    for (size_t f = first; f < first + ffn; ++f) {
      double g = static_cast<double>(gate_bias[f]);
      double u = static_cast<double>(up_bias[f]);
      for (size_t d = 0; d < width; ++d) {
        g += static_cast<double>(gate[f * width + d]) * static_cast<double>(x[d]);
        u += static_cast<double>(up[f * width + d]) * static_cast<double>(x[d]);
      }
      g = std::min(g, kLimit);
      u = std::clamp(u, -kLimit, kLimit);
      const double h = (u + 1) * g / (1 + std::exp(-kAlpha * g));
      sums[f] += h * h;
    }
  }
  return sums;
}

// An expert's inputs are the rows that were routed to it.
TEST(Importance, OfExpertsIsThatOfTheirRows) {
  const std::string model = "data/gpt_oss_bf16/";
  const auto golden = ArrayFile::open(test_data(model + "golden.safetensors")).value();
  std::vector<int32_t> ids = golden.read("input_ids")->integers;
  const auto rows = std::ssize(ids);
  ids.push_back(0);
  const Array inputs = golden.read("norm2.1").value();
  const Array routes = golden.read("router_idx.1").value();
  const auto columns = static_cast<size_t>(inputs.shape.back());
  const auto each = static_cast<size_t>(routes.shape.back());
  std::vector<double> sums(kExperts * columns);
  std::vector<int64_t> counts(kExperts);
  for (size_t i = 0; i < routes.integers.size(); ++i) {
    const auto expert = static_cast<size_t>(routes.integers[i]);
    ++counts[expert];
    for (size_t k = 0; k < columns; ++k) {
      const auto x = static_cast<double>(inputs.floats[i / each * columns + k]);
      sums[expert * columns + k] += x * x;
    }
  }
  const std::vector<double> hidden = hidden_squares(test_data(model + "model"), inputs, routes);
  for (const char* container : {"model", "model.gguf"}) {
    for (const int64_t at_once : {64, 5}) {
      SCOPED_TRACE(container);
      const Squares squares = measured(test_data(model + container), ids, rows + 1,
                                       {.precision = Precision::f32, .rows = at_once});
      for (const char* weight : {"gate_proj", "up_proj"}) {
        expect_near(squares.at(fmt::format("model.layers.1.mlp.experts.{}.weight", weight)), sums,
                    counts);
      }
      EXPECT_TRUE(squares.contains("model.layers.1.self_attn.o_proj.weight"));
      expect_near(squares.at("model.layers.1.mlp.experts.down_proj.weight"), hidden, counts);
    }
  }
}

// The same for every back end that gives the inputs of down, in the profile that models run in.
TEST(Importance, OfExpertsDoesNotDependOnTheBackEnd) {
  std::vector<int32_t> ids;
  for (int32_t i = 0; i < 40; ++i) ids.push_back(i * 37 % 160);
  const std::string path = test_data("data/gpt_oss_mxfp4/model");
  const Squares cpu = measured(path, ids, 20, {.backend = "cpu", .threads = 2});
  const Squares reference = measured(path, ids, 20, {.backend = "reference", .rows = 7});
  ASSERT_EQ(cpu.size(), reference.size());
  int64_t mixtures = 0;
  for (const auto& [weight, squares] : cpu) {
    const InputSquares& other = reference.at(weight);
    mixtures += weight.ends_with("experts.down_proj.weight") ? 1 : 0;
    EXPECT_EQ(squares.rows, other.rows) << weight;
    ASSERT_EQ(squares.sums.size(), other.sums.size()) << weight;
    for (size_t k = 0; k < squares.sums.size(); ++k)
      EXPECT_NEAR(squares.sums[k], other.sums[k], 1e-9 * (1 + squares.sums[k])) << weight;
  }
  EXPECT_GE(mixtures, 2);
}

TEST(Importance, DoesNotDependOnSteps) {
  std::vector<int32_t> ids;
  for (int32_t i = 0; i < 96; ++i) ids.push_back(i * 37 % 160);
  const std::string path = test_data("data/qwen2_untied/model");
  const Squares whole = measured(path, ids, 32);
  const Squares pieces = measured(path, ids, 32, {.rows = 7});
  ASSERT_EQ(whole.size(), pieces.size());
  for (const auto& [weight, squares] : whole) {
    const auto& other = pieces.at(weight);
    const bool output = weight == "lm_head.weight";  // rows that are scored only
    EXPECT_EQ(squares.rows, std::vector<int64_t>{output ? 3 * 15 : 3 * 31}) << weight;
    EXPECT_EQ(other.rows, squares.rows) << weight;
    for (size_t k = 0; k < squares.sums.size(); ++k)
      EXPECT_NEAR(other.sums[k], squares.sums[k], 1e-9 * squares.sums[k]) << weight;
  }
}

TEST(Importance, AModelThatCannotBeReadIsAnError) {
  const auto measurement = ImportanceMeasurement::prepare(test_data("data/nothing"));
  ASSERT_FALSE(measurement.ok());
  EXPECT_EQ(measurement.error().kind, ErrorKind::model);
}

}  // namespace
}  // namespace dunlin
