// Models of 8-bit weights as others publish them: their logits are those that transformers computes
// from the weights that torch dequantises (tools/make_quantized_goldens.py); and every instruction
// set gives the bits of the reference in each precision.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "base/log.h"
#include "golden_models.h"
#include "parity/parity.h"
#include "support/temporary_folder.h"

namespace dunlin {
namespace {

class Quantized : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    set_warning_sink([](const std::string&) {});  // scales of activations
  }

  static Result<ParityReport> compare(const std::string& golden, const BackendChoice& choice,
                                      const ParityOptions& options) {
    ParityOptions chosen = options;
    chosen.backend = choice.backend;
    chosen.isa = choice.isa;
    chosen.threads = 2;
    return compare_with_reference(GetParam() + "/model", golden, chosen);
  }
  std::string values(const BackendChoice& choice, Precision precision) const {
    const auto report = compare(GetParam() + "/golden.safetensors", choice,
                                {.precision = precision, .dump = dump_});
    EXPECT_TRUE(report.ok()) << report.error().message;
    std::ifstream file(dump_, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  static void expect_pass(const Result<ParityReport>& report, const BackendChoice& choice) {
    ASSERT_TRUE(report.ok()) << report.error().message;
    EXPECT_GE(report->rows.size(), 3u);
    for (const ParityRow& row : report->rows) {
      EXPECT_TRUE(row.pass) << choice.backend << " " << choice.isa << " " << row.name << ": "
                            << row.max_abs_diff << " of " << row.allowed << " at " << row.where;
    }
  }

  TemporaryFolder folder_;
  const std::string dump_ = folder_.file("dump.safetensors");
};

TEST_P(Quantized, LogitsAreThoseOfTheDequantisedModel) {
  for (const BackendChoice& choice : all_backends()) {
    if (!refusal(choice).empty()) continue;
    expect_pass(compare(GetParam() + "/golden.safetensors", choice, {}), choice);
  }
}

// Every value of the golden's prompt and continuation, by their bytes.
TEST_P(Quantized, EveryInstructionSetHasTheBitsOfTheReference) {
  for (const Precision precision :
       {Precision::automatic, Precision::exact, Precision::fast, Precision::f32}) {
    const std::string expected = values({"reference", ""}, precision);
    ASSERT_GT(expected.size(), 1000u);
    for (const BackendChoice& choice : all_backends()) {
      if (!refusal(choice).empty()) continue;
      EXPECT_TRUE(values(choice, precision) == expected)
          << choice.backend << " " << choice.isa << " " << precision_name(precision);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Models, Quantized, testing::ValuesIn(quantized_folders()),
                         [](const auto& info) {
                           return std::filesystem::path(info.param).filename().string();
                         });

TEST(QuantizedModels, AreAllThere) {
  EXPECT_EQ(quantized_folders().size(), 5u);
}

}  // namespace
}  // namespace dunlin
