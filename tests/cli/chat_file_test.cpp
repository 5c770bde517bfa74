// /save and /load of `dunlin chat`, as processes.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "artifact/writer.h"
#include "process.h"
#include "support/temporary_folder.h"
#include "support/text_model_folder.h"

namespace dunlin {
namespace {

using testing::HasSubstr;

class ChatFile : public testing::Test {
 protected:
  void SetUp() override {
    write_text_model(folder_.path());
    file_ = folder_.file("chat.dunlin");
  }

  ProcessResult chat(const std::string& input, std::vector<std::string> more = {},
                     std::map<std::string, std::string> environment = {}) const {
    std::vector<std::string> arguments = {"chat", folder_.path(), "--temp",       "0",     "-n",
                                          "5",    "-q",           "--ignore-eos", "--json"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run_dunlin(arguments, {.text = input, .environment = std::move(environment)});
  }
  ProcessResult save() const { return chat("Hello world\n/save " + file_ + "\n"); }

  TemporaryFolder folder_;
  std::string file_;
};

TEST_F(ChatFile, ALoadedConversationGoesOnWithoutComputingItAgain) {
  for (const char* backend : {"cpu", "reference"}) {
    for (const auto& [precision, type] :
         {std::pair("auto", "auto"), std::pair("f32", "auto"), std::pair("auto", "int8")}) {
      const std::vector<std::string> flags = {"--backend",        backend, "--precision", precision,
                                              "--kv-cache-dtype", type};
      // In one go, and with a process between.
      const auto whole = chat("Hello world\nAnd again\n", flags).json_lines();
      ASSERT_EQ(whole.size(), 2u);
      const ProcessResult saved = chat("Hello world\n/save " + file_ + "\n", flags);
      ASSERT_EQ(saved.code, 0) << saved.err;
      const ProcessResult loaded = chat("/load " + file_ + "\nAnd again\n", flags);
      ASSERT_EQ(loaded.code, 0) << loaded.err;
      const auto answer = loaded.json();
      EXPECT_EQ(answer["prompt_ids"], whole[1]["prompt_ids"]);
      EXPECT_EQ(answer["ids"], whole[1]["ids"]);
      // Only what follows the first answer is computed: the same rows as without the file.
      EXPECT_EQ(answer["timings"]["cache_n"], whole[1]["timings"]["cache_n"]);
      EXPECT_GE(answer["timings"]["cache_n"].get<size_t>(), whole[0]["prompt_ids"].size());
      EXPECT_THAT(loaded.err, HasSubstr("loaded 2 messages and the KV cache of"));
    }
  }
}

TEST_F(ChatFile, AnotherPrecisionBackEndOrModelComputesItAgainAndSaysSo) {
  ASSERT_EQ(save().code, 0);
  const auto expect_recomputed = [this](const std::vector<std::string>& flags, const char* what) {
    const ProcessResult loaded = chat("/load " + file_ + "\nAnd again\n", flags);
    ASSERT_EQ(loaded.code, 0) << loaded.err;
    EXPECT_EQ(loaded.json()["timings"]["cache_n"], 0);
    EXPECT_THAT(loaded.err, HasSubstr("computes them again"));
    EXPECT_THAT(loaded.err, HasSubstr(what));
    EXPECT_EQ(loaded.json()["prompt_ids"],
              chat("Hello world\nAnd again\n", {}).json_lines().at(1)["prompt_ids"]);
  };
  expect_recomputed({"--backend", "reference"}, "(KV)");
  expect_recomputed({"--precision", "f32"}, "precision, KV");
  expect_recomputed({"--kv-cache-dtype", "int8"}, "(KV)");
  // One weight of the last tensor changes.
  std::string weights = read_all(folder_.file("model.safetensors"));
  weights.back() = static_cast<char>(weights.back() ^ 1);
  write_all(folder_.file("model.safetensors"), weights);
  expect_recomputed({}, "(model)");
}

TEST_F(ChatFile, DamageIsAClearErrorAndTheConversationStays) {
  ASSERT_EQ(save().code, 0);
  const std::string good = read_all(file_);
  const auto expect_error = [this](const std::string& content, const char* problem) {
    write_all(file_, content);
    const ProcessResult loaded = chat("/load " + file_ + "\nAnd again\n");
    EXPECT_EQ(loaded.code, 1) << loaded.err;
    EXPECT_THAT(loaded.err, HasSubstr("error: " + file_ + ": "));
    EXPECT_THAT(loaded.err, HasSubstr(problem));
    EXPECT_EQ(loaded.out, "");
  };
  for (const double place : {0.1, 0.5, 0.9}) {
    std::string bad = good;
    const auto at = static_cast<size_t>(place * static_cast<double>(bad.size()));
    bad[at] = static_cast<char>(bad[at] ^ 4);
    expect_error(bad, "damaged");
  }
  expect_error(good.substr(0, good.size() - 1), "damaged");
  expect_error("", "too few");
  expect_error(std::string(1000, 'x'), "not a file of this program");
  EXPECT_THAT(chat("/load " + folder_.path() + "\n").err, HasSubstr(folder_.path()));
  EXPECT_THAT(chat("/load /nowhere\n").err, HasSubstr("No such file"));
}

TEST_F(ChatFile, AContextThatIsTooSmallIsAnErrorWithBothNumbers) {
  ASSERT_EQ(save().code, 0);
  const ProcessResult loaded = chat("/load " + file_ + "\n", {"-c", "16"});
  EXPECT_EQ(loaded.code, 2);
  EXPECT_THAT(loaded.err, HasSubstr("do not fit the context of 16"));
}

TEST_F(ChatFile, OnlyConversationsAreOverwritten) {
  ASSERT_EQ(save().code, 0);
  EXPECT_EQ(save().code, 0);
  write_all(folder_.file("notes.txt"), "precious");
  const ProcessResult over = chat("Hello\n/save " + folder_.file("notes.txt") + "\n");
  EXPECT_EQ(over.code, 1);
  EXPECT_THAT(over.err, HasSubstr("is there and is not a saved conversation"));
  EXPECT_EQ(read_all(folder_.file("notes.txt")), "precious");
  EXPECT_EQ(chat("/save /nowhere/chat\n").code, 1);
  EXPECT_EQ(chat("/save /dev/full\n").code, 1);
  EXPECT_EQ(chat("/save\n").code, 2);
  EXPECT_EQ(chat("/load\n").code, 2);
}

TEST_F(ChatFile, ADamagedConversationIsReplacedByAWholeOne) {
  ASSERT_EQ(save().code, 0);
  const std::string good = read_all(file_);
  const auto flipped = [&good](size_t at) {
    std::string bad = good;
    bad[at] = static_cast<char>(bad[at] ^ 4);
    return bad;
  };
  // In the header, a chunk and the table; ended early in each of them.
  for (const std::string& bad : {flipped(20), flipped(100), flipped(good.size() - 1),
                                 good.substr(0, 12), good.substr(0, 100), good + "x"}) {
    write_all(file_, bad);
    EXPECT_EQ(chat("/load " + file_ + "\n").code, 1);
    const ProcessResult saved = save();
    EXPECT_EQ(saved.code, 0) << saved.err;
    EXPECT_TRUE(read_all(file_) == good);
  }
}

TEST_F(ChatFile, OtherFilesOfTheProgramStay) {
  const auto expect_refused = [this](const std::string& content) {
    write_all(file_, content);
    EXPECT_EQ(save().code, 1);
    EXPECT_TRUE(read_all(file_) == content);
  };
  auto writer = ArtifactWriter::create(file_, {.kind = "packed weights", .key = ""});
  ASSERT_TRUE(writer->commit().ok());
  expect_refused(read_all(file_));
  ASSERT_EQ(std::filesystem::remove(file_), true);
  ASSERT_EQ(save().code, 0);
  std::string newer = read_all(file_);
  newer[8] = 2;  // version
  expect_refused(newer);
  expect_refused(newer.substr(0, 7));  // less than the magic
}

TEST_F(ChatFile, ANewConversationMayBeSavedAndTheHomeFolderNamed) {
  const ProcessResult empty =
      chat("/save ~/chat.dunlin\n", {"-sys", "Be brief."}, {{"HOME", folder_.path()}});
  EXPECT_EQ(empty.code, 0) << empty.err;
  EXPECT_THAT(empty.err, HasSubstr("saved 1 messages and the KV cache of 0 tokens"));
  const ProcessResult loaded = chat("/load " + file_ + "\nHello\n");
  EXPECT_EQ(loaded.json()["prompt_ids"],
            chat("Hello\n", {"-sys", "Be brief."}).json()["prompt_ids"]);
}

// A model with windows of 5 positions, which has given the first pages back when it is saved.
TEST(ChatFileOfWindows, SaysWhyTheCacheIsNotSaved) {
  TemporaryFolder folder;
  std::filesystem::copy(test_data("data/gpt_oss_bf16/model"), folder.path());
  write_ascii_tokenizer(folder.path());
  write_all(folder.file("chat_template.jinja"),
            "{% for message in messages %}{{ message.content }}{% endfor %}");
  const std::string file = folder.file("chat.dunlin");
  const auto chat = [&](const std::string& input) {
    return run_dunlin({"chat", folder.path(), "--temp", "0", "-n", "60", "-q", "--ignore-eos"},
                      {.text = input});
  };
  const ProcessResult saved = chat("Hello\n/save " + file + "\n");
  EXPECT_EQ(saved.code, 0) << saved.err;
  EXPECT_THAT(saved.err,
              HasSubstr("saved 2 messages without their KV cache: layers with a window"));
  const ProcessResult loaded = chat("/load " + file + "\n");
  EXPECT_EQ(loaded.code, 0) << loaded.err;
  EXPECT_THAT(loaded.err, HasSubstr("loaded 2 messages, which were saved without a KV cache"));
}

}  // namespace
}  // namespace dunlin
