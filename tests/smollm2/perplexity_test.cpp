// Perplexity of a real model over a real text, against numpy in float64
// (data/perplexity.json, made by tools/make_perplexity_golden.py): with llama-perplexity's windows,
// without any rounding of activations and under the profile people run.
#include <fmt/format.h>

#include <cmath>

#include "base/byte_source.h"
#include "eval/evaluate.h"
#include "smollm2.h"

namespace dunlin {
namespace {

class SmolLm2Perplexity : public SmolLm2 {
 protected:
  static EvalResult evaluated(Precision precision, const std::string& reference = "") {
    const auto golden = read_json("smollm2/data/perplexity.json");
    const std::string path =
        std::string(DUNLIN_SOURCE_DIR) + "/" + golden["text"].get<std::string>();
    const Corpus corpus =
        encode_corpus(smollm2_path(), read_text_file(path, 1 << 20).value()).value();
    const WindowPlan plan = plan_windows(std::ssize(corpus.ids), {.window = golden["window"],
                                                                  .stride = golden["window"],
                                                                  .most = golden["windows"]})
                                .value();
    const ModelOptions options =
        eval_model_options({.precision = precision, .rows = 1024}, plan, corpus.vocabulary);
    const auto model = load_model(smollm2_path(), options).value();
    ModelOptions exact = options;
    exact.precision = Precision::f32;
    const auto other = reference.empty() ? nullptr : load_model(reference, exact).value();
    return evaluate(*model, other.get(), corpus, plan,
                    [](const EvalProgress&) { return Result<void>(); })
        .value();
  }
};

TEST_F(SmolLm2Perplexity, InFloat32IsNumpys) {
  const auto golden = read_json("smollm2/data/perplexity.json");
  const EvalResult result = evaluated(Precision::f32);
  EXPECT_EQ(result.tokens, golden["tokens"].get<int64_t>());
  EXPECT_NEAR(result.perplexity.value / golden["perplexity"].get<double>(), 1.0, 1e-5);
  EXPECT_NEAR(result.perplexity.error / golden["perplexity_error"].get<double>(), 1.0, 1e-4);
}

TEST_F(SmolLm2Perplexity, InAutoIsWithinHalfAPercent) {
  const auto golden = read_json("smollm2/data/perplexity.json");
  const EvalResult result = evaluated(Precision::automatic, smollm2_path());
  EXPECT_NEAR(result.perplexity.value / golden["perplexity"].get<double>(), 1.0, 5e-3);
  // How far bf16 activations are from float32.
  ASSERT_TRUE(result.reference.has_value());
  EXPECT_NEAR(result.reference->perplexity.value / golden["perplexity"].get<double>(), 1.0, 1e-5);
  EXPECT_GT(result.reference->kl_mean, 0.0);
  EXPECT_LT(result.reference->kl_mean, 1e-2);
  EXPECT_GT(result.reference->top1_agreement, 0.95);
  fmt::print("auto: perplexity {:.5f}, KL {:.6f}, 99 % below {:.6f}, same best {:.4f}\n",
             result.perplexity.value, result.reference->kl_mean, result.reference->kl_p99,
             result.reference->top1_agreement);
}

}  // namespace
}  // namespace dunlin
