// `dunlin imatrix` as a process, and `dunlin quantize` with what it wrote.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <numeric>
#include <string>
#include <vector>

#include "convert/imatrix.h"
#include "process.h"
#include "support/temporary_folder.h"
#include "support/text_model_folder.h"

namespace dunlin {
namespace {

using testing::HasSubstr;

class ImatrixCommand : public testing::Test {
 protected:
  void SetUp() override {
    write_text_model(model_.path());
    std::string text;
    for (int i = 0; i < 40; ++i) text += fmt::format("Line {} says hello to the world.\n", i);
    write_all(text_, text);
  }

  ProcessResult imatrix(std::vector<std::string> more, const ProcessInput& input = {}) const {
    more.insert(more.begin(), {"imatrix", model_.path(), text_, "-c", "64", "-o", out_});
    return run_dunlin(more, input);
  }

  TemporaryFolder model_, folder_;
  std::string text_ = folder_.file("text.txt");
  std::string out_ = folder_.file("imatrix.gguf");
};

TEST_F(ImatrixCommand, WritesWhatQuantizeReads) {
  const ProcessResult measured = imatrix({"--json", "-q"});
  ASSERT_EQ(measured.code, 0) << measured.err;
  const auto json = measured.json();
  EXPECT_EQ(json["matrices"], 2 * 7);  // of two layers
  EXPECT_EQ(json["window"], 64);
  EXPECT_GT(json["perplexity"].get<double>(), 200.0);
  const std::string plain = folder_.file("plain.gguf");
  const std::string weighted = folder_.file("weighted.gguf");
  ASSERT_EQ(run_dunlin({"quantize", model_.path(), plain, "Q4_0", "-q"}).code, 0);
  const auto quantized =
      run_dunlin({"quantize", model_.path(), weighted, "Q4_0", "-q", "--imatrix", out_});
  ASSERT_EQ(quantized.code, 0) << quantized.err;
  EXPECT_NE(read_all(plain), read_all(weighted));
  // Fewer bits lose less where they are spent by importance: over the text it was measured on.
  const auto distance = [&](const std::string& path) {
    return run_dunlin({"eval", path, text_, "-c", "64", "--ref", model_.path(), "--json", "-q"})
        .json()["kl_mean"]
        .get<double>();
  };
  EXPECT_LT(distance(weighted), distance(plain));
}

TEST_F(ImatrixCommand, TheOutputIsMeasuredWhereAskedFor) {
  ASSERT_EQ(imatrix({"--chunks", "2", "-q"}).code, 0);
  const ProcessResult all = imatrix({"--chunks", "2", "--process-output"});
  ASSERT_EQ(all.code, 0) << all.err;
  EXPECT_THAT(all.out, HasSubstr("15 matrices, measured over 2 windows of 64 tokens"));
}

// Each expert's gate, up and down, over the rows that chose it; a line for each layer where an expert
// was never chosen.
TEST_F(ImatrixCommand, ExpertsAreMeasuredByThemselves) {
  std::filesystem::copy(test_data("data/gpt_oss_bf16/model"), folder_.file("mixture"));
  write_ascii_tokenizer(folder_.file("mixture"));
  write_all(text_, "Hello to you");
  for (const char* const window : {"3", "12"}) {
    const ProcessResult measured = run_dunlin(
        {"imatrix", folder_.file("mixture"), text_, "-c", window, "--chunks", "1", "-o", out_});
    ASSERT_EQ(measured.code, 0) << measured.err;
    const auto imatrix = read_imatrix(out_);
    ASSERT_TRUE(imatrix.ok()) << imatrix.error().message;
    for (const int layer : {0, 1}) {
      const auto name = [layer](const char* matrix) {
        return fmt::format("blk.{}.ffn_{}_exps.weight", layer, matrix);
      };
      const std::vector<int64_t>& rows = imatrix->rows.at(name("down"));
      ASSERT_EQ(rows.size(), 6u);
      EXPECT_EQ(std::accumulate(rows.begin(), rows.end(), int64_t{0}), 4 * (std::stoi(window) - 1));
      EXPECT_EQ(imatrix->rows.at(name("gate")), rows);
      EXPECT_EQ(imatrix->rows.at(name("up")), rows);
      EXPECT_EQ(imatrix->columns.at(name("down")).size(), 6u * 40u);
      EXPECT_EQ(imatrix->columns.at(name("gate")).size(), 6u * 64u);
      const auto never = std::ranges::count(rows, 0);
      const std::string note =
          fmt::format("blk.{}: {} of 6 experts were never chosen", layer, never);
      EXPECT_EQ(measured.err.find(note) != std::string::npos, never > 0) << measured.err;
    }
    const auto quantized = run_dunlin({"quantize", test_data("data/gpt_oss_bf16/model"),
                                       folder_.file("q.gguf"), "Q4_0", "--imatrix", out_});
    ASSERT_EQ(quantized.code, 0) << quantized.err;
    EXPECT_THAT(quantized.err, testing::Not(HasSubstr("exps.weight has no entry")));
  }
}

TEST_F(ImatrixCommand, NothingElseIsReplaced) {
  write_all(out_, "a letter");
  const ProcessResult result = imatrix({});
  EXPECT_EQ(result.code, 2);
  EXPECT_THAT(result.err, HasSubstr(out_ + ": is there and is no importance matrix"));
  EXPECT_EQ(read_all(out_), "a letter");
}

TEST_F(ImatrixCommand, ErrorsNameWhatIsWrong) {
  write_all(text_, "short");
  const ProcessResult result = imatrix({});
  EXPECT_EQ(result.code, 2);
  EXPECT_THAT(result.err, HasSubstr(text_));
  EXPECT_EQ(run_dunlin({"imatrix", folder_.file("none"), text_}).code, 3);
}

}  // namespace
}  // namespace dunlin
