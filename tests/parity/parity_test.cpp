// Every golden model, in both containers, on the reference and on every instruction set that
// this machine has: differences within 2e-5 of the largest logit (three times that inside), the same greedy
// ids. The goldens come from transformers (tools/make_golden.py).
#include "parity/parity.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "base/cpu_features.h"
#include "golden_models.h"
#include "support/temporary_folder.h"

namespace dunlin {
namespace {

struct Case {
  std::string model;
  Container container;
  BackendChoice choice;

  std::string name() const {
    return model + (container == Container::gguf ? "_gguf_" : "_directory_") + choice.backend +
           (choice.isa.empty() ? "" : "_" + choice.isa);
  }
};

void PrintTo(const Case& test, std::ostream* stream) {
  *stream << test.name();
}

std::vector<Case> cases(const std::vector<std::string>& models,
                        const std::vector<BackendChoice>& choices) {
  std::vector<Case> list;
  for (const std::string& model : models) {
    for (const Container container : {Container::directory, Container::gguf}) {
      for (const BackendChoice& choice : choices) list.push_back({model, container, choice});
    }
  }
  return list;
}

// The prompt of 300 tokens takes seconds in scalar code: the vector instruction sets, and the
// reference once, are fast.
bool is_fast(const Case& test) {
  if (test.choice.backend == "reference") return test.model == "kernel_llama_9_3";
  return test.choice.isa != isa_name(Isa::scalar);
}

std::vector<Case> kernel_cases(bool fast) {
  std::vector<Case> list = cases(kernel_models(), all_backends());
  std::erase_if(list, [fast](const Case& test) { return is_fast(test) != fast; });
  return list;
}

class Parity : public testing::TestWithParam<Case> {};

TEST_P(Parity, EveryTensorAgrees) {
  const Case& test = GetParam();
  if (const std::string why = refusal(test.choice); !why.empty())
    GTEST_SKIP() << test.choice.isa << ": " << why;
  const auto report = compare_with_reference(
      model_path(test.model, test.container), golden_path(test.model),
      {.backend = test.choice.backend, .threads = 2, .isa = test.choice.isa});
  ASSERT_TRUE(report.ok()) << report.error().message;
  for (const ParityRow& row : report->rows) {
    EXPECT_TRUE(row.pass) << row.name << ": " << row.max_abs_diff << " of " << row.allowed << " at "
                          << row.where;
  }
  // Everything in the golden was compared, on the instruction set that was asked for.
  EXPECT_EQ(report->ignored, std::vector<std::string>());
  EXPECT_GE(report->rows.size(), 4u);
  if (!test.choice.isa.empty()) {
    EXPECT_EQ(report->isa, test.choice.isa);
  }
}

const auto case_name = [](const auto& info) { return info.param.name(); };
INSTANTIATE_TEST_SUITE_P(Tiny, Parity, testing::ValuesIn(cases(committed_models(), all_backends())),
                         case_name);
INSTANTIATE_TEST_SUITE_P(Kernel, Parity, testing::ValuesIn(kernel_cases(/*fast=*/true)), case_name);
INSTANTIATE_TEST_SUITE_P(SlowKernel, Parity, testing::ValuesIn(kernel_cases(/*fast=*/false)),
                         case_name);

// The loops of models that fill in masks under a second threshold, and on every instruction set.
class SecondThreshold : public testing::TestWithParam<Case> {};

TEST_P(SecondThreshold, EveryLoopAgrees) {
  const Case& test = GetParam();
  if (const std::string why = refusal(test.choice); !why.empty())
    GTEST_SKIP() << test.choice.isa << ": " << why;
  for (const std::string& reference : threshold_golden_paths(test.model)) {
    const auto report = compare_with_reference(
        model_path(test.model, test.container), reference,
        {.backend = test.choice.backend, .threads = 2, .isa = test.choice.isa});
    ASSERT_TRUE(report.ok()) << report.error().message;
    for (const ParityRow& row : report->rows)
      EXPECT_TRUE(row.pass) << row.name << " at " << row.where;
    EXPECT_EQ(report->ignored, std::vector<std::string>());
    EXPECT_EQ(report->rows.size(), 8u);  // ids and passes of four loops
  }
}

INSTANTIATE_TEST_SUITE_P(Tiny, SecondThreshold,
                         testing::ValuesIn(cases(diffusion_models(), all_backends())), case_name);

// 24 tokens and 12 more, of a model whose configuration says 30.
TEST(ParityContext, MayBeLongerThanTheModelWasTrainedFor) {
  const TemporaryFolder folder;
  std::filesystem::copy(model_path("llama_plain", Container::directory), folder.path());
  std::ifstream file(folder.file("config.json"));
  nlohmann::json config = nlohmann::json::parse(file);
  config["max_position_embeddings"] = 30;
  std::ofstream(folder.file("config.json")) << config.dump();
  for (const char* backend : {"reference", "cpu"}) {
    const auto report =
        compare_with_reference(folder.path(), golden_path("llama_plain"), {.backend = backend});
    ASSERT_TRUE(report.ok()) << report.error().message;
    EXPECT_TRUE(report->pass()) << *report->first_failure();
    EXPECT_EQ(report->rows.back().name, "greedy_logits");
  }
}

TEST(ParityModels, AreAllThere) {
  EXPECT_GE(committed_models().size(), 13u);
  ASSERT_EQ(diffusion_models().size(), 2u);
  for (const std::string& model : diffusion_models())
    EXPECT_EQ(threshold_golden_paths(model).size(), 1u) << model;
  EXPECT_EQ(kernel_models().size(), 3u);
}

}  // namespace
}  // namespace dunlin
