// The importance of inputs against the reference values of a golden model, and the same sums however
// the text is put into steps.
#include "eval/importance.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "eval/evaluate.h"
#include "parity/array_file.h"
#include "support/text_model_folder.h"

namespace dunlin {
namespace {

using Squares = std::map<std::string, InputSquares>;

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
  constexpr size_t kExperts = 6;
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
      EXPECT_FALSE(squares.contains("model.layers.1.mlp.experts.down_proj.weight"));
    }
  }
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
