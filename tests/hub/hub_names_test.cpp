// Names of models, and paths that a server may not choose.
#include "hub/hub_names.h"

#include <gtest/gtest.h>

#include "base/result.h"

namespace dunlin {
namespace {

TEST(HubModel, HasRepositoryQuantOrFile) {
  const struct {
    std::string text, repo, quant, file;
  } cases[] = {
      {"org/name", "org/name", "", ""},
      {"hf:org/name", "org/name", "", ""},
      {"gpt2", "gpt2", "", ""},
      {"a_b/Llama-3.2-1B-Instruct-GGUF:Q4_K_M", "a_b/Llama-3.2-1B-Instruct-GGUF", "Q4_K_M", ""},
      {"org/name/m.gguf", "org/name", "", "m.gguf"},
      {"org/name/sub/m-00001-of-00002.gguf", "org/name", "", "sub/m-00001-of-00002.gguf"},
  };
  for (const auto& [text, repo, quant, file] : cases) {
    const auto model = parse_hub_model(text);
    ASSERT_TRUE(model.ok()) << text;
    EXPECT_EQ(model->repo, repo);
    EXPECT_EQ(model->quant, quant);
    EXPECT_EQ(model->file, file);
    EXPECT_EQ("hf:" + model->text(), text.starts_with("hf:") ? text : "hf:" + text);
  }
}

TEST(HubModel, AnythingElseIsAnError) {
  for (const char* text : {"",
                           "/",
                           "org/",
                           "/name",
                           "org//name",
                           "../name",
                           "org/..",
                           "org/na..me",
                           "-org/name",
                           "org/name-",
                           ".org/name",
                           "org/na me",
                           "org/name:",
                           "org/name:Q4/..",
                           "org/name:Q 4",
                           "org/name/file.bin",
                           "org/name/../x.gguf",
                           "org/name//x.gguf",
                           "org/na--me",
                           "org/name.git",
                           "https://huggingface.co/org/name",
                           "org/n\xc3\xa4me",
                           "./model.gguf",
                           "~/model"}) {
    const auto model = parse_hub_model(text);
    ASSERT_FALSE(model.ok()) << text;
    EXPECT_EQ(model.error().kind, ErrorKind::usage);
  }
  EXPECT_FALSE(parse_hub_model("org/" + std::string(97, 'a')).ok());
  EXPECT_FALSE(parse_hub_model("org/a:" + std::string(65, 'Q')).ok());
}

TEST(PathProblem, PathsStayWhereTheyBelong) {
  for (const char* path : {"config.json", "sub/folder/model.gguf", "a b.json", "..gguf", "a..b",
                           "n\xc3\xa4me", ".gitattributes", "-a"}) {
    EXPECT_EQ(path_problem(path), "") << path;
  }
  for (const std::string& path : {std::string(),           std::string("/etc/passwd"),
                                  std::string("../x"),     std::string("a/../../x"),
                                  std::string("a/.."),     std::string("."),
                                  std::string("./a"),      std::string("a//b"),
                                  std::string("a/"),       std::string("a\\b"),
                                  std::string("..\\x"),    std::string("C:\\x"),
                                  std::string("a\0b", 3),  std::string("a\nb"),
                                  std::string("a\x7f"),    std::string("a\xc2\x9b[2J"),
                                  std::string("\xff\xfe"), std::string(".git/hooks/x"),
                                  std::string(256, 'a'),   "a/" + std::string(256, 'b'),
                                  std::string(1025, '/')}) {
    EXPECT_NE(path_problem(path), "") << path;
  }
  std::string deep = "a";
  while (deep.size() <= 1024) deep += "/a";
  EXPECT_NE(path_problem(deep), "");
}

}  // namespace
}  // namespace dunlin
