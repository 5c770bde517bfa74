// `dunlin imatrix` as a process, and `dunlin quantize` with what it wrote.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "process.h"
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
