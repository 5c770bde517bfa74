// `dunlin tokenize` and `detokenize` as processes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "process.h"
#include "support/temporary_folder.h"
#include "support/text_model_folder.h"

namespace dunlin {
namespace {

using testing::HasSubstr;
using testing::StartsWith;
using Ids = std::vector<int32_t>;

// The texts of the tokenizers' tests, and their ids from the reference. Those that JSON cannot hold
// are left out.
struct SmallTokenizer {
  explicit SmallTokenizer(const std::string& name) : folder(test_data("tokenizer/data/" + name)) {
    const auto corpus = nlohmann::json::parse(read_all(test_data("tokenizer/data/corpus.json")));
    const auto all = nlohmann::json::parse(read_all(folder + ".ids.json"))["ids"];
    for (size_t i = 0; i < corpus.size(); ++i) {
      if (!corpus[i].is_string()) continue;
      texts.push_back(corpus[i].get<std::string>());
      ids.push_back(all[i].get<Ids>());
    }
  }
  std::string folder;
  std::vector<std::string> texts;
  std::vector<Ids> ids;
};

TEST(Tokenize, BatchEqualsTheReferenceAndComesBack) {
  for (const char* name : {"small_llama3", "small_qwen2", "small_smollm2", "small_gpt2"}) {
    const SmallTokenizer small(name);
    std::string input;
    for (const auto& text : small.texts) input += nlohmann::json{{"text", text}}.dump() + "\n";
    const ProcessResult tokenized =
        run_dunlin({"tokenize", small.folder, "--batch"}, {.text = input});
    ASSERT_EQ(tokenized.code, 0) << tokenized.err;
    const auto lines = tokenized.json_lines();
    ASSERT_EQ(lines.size(), small.texts.size());
    for (size_t i = 0; i < lines.size(); ++i)
      EXPECT_EQ(lines[i]["ids"], small.ids[i]) << name << ": " << small.texts[i];

    const ProcessResult back = run_dunlin(
        {"detokenize", small.folder + "/tokenizer.json", "--batch"}, {.text = tokenized.out});
    ASSERT_EQ(back.code, 0) << back.err;
    const auto texts = back.json_lines();
    ASSERT_EQ(texts.size(), lines.size());
    if (std::string(name) == "small_qwen2") continue;  // it normalises
    for (size_t i = 0; i < texts.size(); ++i) {
      std::string expected = small.texts[i];
      // This vocabulary has no token for these two bytes.
      if (std::string(name) == "small_smollm2")
        std::erase_if(expected, [](char byte) { return byte == '\x04' || byte == '\x06'; });
      EXPECT_EQ(texts[i]["text"], expected) << name;
    }
  }
}

TEST(Tokenize, BytesOfStdinComeBackUnchanged) {
  const std::string folder = test_data("tokenizer/data/small_llama3");
  const std::string text = "Hello world\n\n  trailing \t\r\n\xE2\x82\xAC and \xF0\x9F\x98\x80\n";
  const ProcessResult ids = run_dunlin({"tokenize", folder, "--ids"}, {.text = text});
  ASSERT_EQ(ids.code, 0) << ids.err;
  EXPECT_TRUE(ids.json().is_array());
  EXPECT_EQ(run_dunlin({"detokenize", folder}, {.text = ids.out}).out, text);
  EXPECT_EQ(run_dunlin({"detokenize", folder, ids.out}).out, text);
  // What is not UTF-8 counts as U+FFFD.
  EXPECT_EQ(run_dunlin({"tokenize", folder, "--ids"}, {.text = "a\xC3"}).out,
            run_dunlin({"tokenize", folder, "--ids"}, {.text = "a\xEF\xBF\xBD"}).out);
  // The argument says the same as stdin.
  EXPECT_EQ(run_dunlin({"tokenize", folder, text, "--ids"}).out, ids.out);
}

TEST(Tokenize, SpecialTokensAndBosAreAskedFor) {
  const std::string folder = test_data("tokenizer/data/small_llama3");  // <|begin|> is 701, bos
  const auto ids = [&](std::vector<std::string> more) {
    more.insert(more.begin(), {"tokenize", folder, "a<|eot_id|>", "--ids"});
    return run_dunlin(more).json().get<Ids>();
  };
  const Ids parsed = ids({});
  EXPECT_EQ(parsed.back(), 704);
  EXPECT_EQ(parsed.size(), 2u);
  const Ids text = ids({"--no-special"});
  EXPECT_GT(text.size(), 2u);
  EXPECT_THAT(text, testing::Each(testing::Lt(701)));
  Ids with_bos = parsed;
  with_bos.insert(with_bos.begin(), 701);
  EXPECT_EQ(ids({"--add-bos"}), with_bos);
  const ProcessResult none =
      run_dunlin({"tokenize", test_data("tokenizer/data/small_gpt2"), "a", "--add-bos"});
  EXPECT_EQ(none.code, 2);
}

TEST(Tokenize, PiecesAreForPeopleAndJsonIsValidForPartialCharacters) {
  const std::string folder = test_data("tokenizer/data/small_llama3");
  const ProcessResult pieces = run_dunlin({"tokenize", folder}, {.text = "a\n\xF0\x9F\x98\x80"});
  EXPECT_THAT(pieces.out, HasSubstr("\\n"));
  EXPECT_THAT(pieces.out, HasSubstr("\\xf0"));
  const auto json =
      run_dunlin({"tokenize", folder, "--json"}, {.text = "a\xF0\x9F\x98\x80"}).json();
  ASSERT_TRUE(json.is_object());
  EXPECT_EQ(json["ids"].size(), json["pieces"].size());
  EXPECT_EQ(json["pieces"][0], "a");
}

// A model may have rows beyond its tokens: 608 here, of which the tokenizer has below 600.
TEST(Tokenize, RowsWithoutATokenDecodeToNothing) {
  const TemporaryFolder folder;
  write_text_model(folder.path());
  const std::string gguf = folder.file("model.gguf");
  ASSERT_EQ(run_dunlin({"convert", folder.path(), gguf, "-q"}).code, 0);
  for (const std::string& model : {folder.path(), folder.file("tokenizer.json"), gguf}) {
    const ProcessResult rows = run_dunlin({"detokenize", model, "[607, 1, 606]"});
    EXPECT_EQ(rows.code, 0) << rows.err;
    EXPECT_EQ(rows.out, run_dunlin({"detokenize", model, "[1]"}).out);
    const ProcessResult beyond = run_dunlin({"detokenize", model, "[1, 608]"});
    EXPECT_EQ(beyond.code, 2);
    EXPECT_THAT(beyond.err, StartsWith("error: ids: token 608 is outside 0..607"));
  }
}

TEST(Tokenize, WrongInputIsAnError) {
  const std::string folder = test_data("tokenizer/data/small_llama3");
  EXPECT_EQ(run_dunlin({"tokenize", folder, "--batch"}, {.text = "{\"text\":1}\n"}).code, 2);
  EXPECT_EQ(run_dunlin({"detokenize", folder}, {.text = "[1, \"x\"]"}).code, 2);
  EXPECT_EQ(run_dunlin({"detokenize", folder}, {.text = "[-1]"}).code, 2);
  EXPECT_EQ(run_dunlin({"detokenize", folder}, {.text = "nonsense"}).code, 2);
  const ProcessResult beyond = run_dunlin({"detokenize", folder}, {.text = "[1, 99999]"});
  EXPECT_EQ(beyond.code, 2);
  EXPECT_THAT(beyond.err, StartsWith("error: stdin: token 99999 is outside 0.."));
  const ProcessResult line =
      run_dunlin({"detokenize", folder, "--batch"}, {.text = "{\"ids\":[1]}\n{\"ids\":[99999]}\n"});
  EXPECT_EQ(line.code, 2);
  EXPECT_THAT(line.err, StartsWith("error: stdin:2: token 99999 is outside 0.."));
  // Of two that exclude each other none is left out in silence.
  EXPECT_EQ(run_dunlin({"tokenize", folder, "a", "--ids", "--batch"}).code, 2);
  EXPECT_EQ(run_dunlin({"tokenize", folder, "a", "--ids", "--json"}).code, 2);
  EXPECT_EQ(run_dunlin({"tokenize", folder, "--json", "--batch"}).code, 2);
  EXPECT_EQ(run_dunlin({"detokenize", folder, "[1]", "--batch"}).code, 2);
  EXPECT_EQ(run_dunlin({"tokenize", test_data("data/llama_plain/model"), "a"}).code, 3);
  EXPECT_EQ(run_dunlin({"tokenize", test_data("data/llama_plain/model.gguf"), "a"}).code, 3);
  EXPECT_EQ(run_dunlin({"tokenize", "/nowhere/tokenizer.json", "a"}).code, 3);
}

}  // namespace
}  // namespace dunlin
