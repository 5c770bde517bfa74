#include "library_models.h"

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "support/temporary_folder.h"
#include "support/text_model_folder.h"

namespace {

constexpr const char* kPattern = R"(\p{N}|\s?[^\s\p{N}]+|\s+)";

// A text model until the process ends.
struct TextModelFolder {
  explicit TextModelFolder(void (*write)(const std::string& folder) = dunlin::write_text_model) {
    write(folder.path());
  }

  const dunlin::TemporaryFolder folder;
};

}  // namespace

std::string ids_model() {
  return std::string(DUNLIN_SOURCE_DIR) + "/tests/data/llama_plain/model";
}

std::string text_model() {
  static const TextModelFolder kModel;
  return kModel.folder.path();
}

std::string harmony_model() {
  static const TextModelFolder kModel(dunlin::write_harmony_model);
  return kModel.folder.path();
}

std::string pattern_model() {
  static const TextModelFolder kModel;
  static const bool written = [] {
    const std::string path = kModel.folder.file("tokenizer.json");
    auto tokenizer = nlohmann::ordered_json::parse(std::ifstream(path));
    tokenizer["pre_tokenizer"]["pretokenizers"] = {{{"type", "Split"},
                                                    {"pattern", {{"Regex", kPattern}}},
                                                    {"behavior", "Isolated"},
                                                    {"invert", false}},
                                                   {{"type", "ByteLevel"},
                                                    {"add_prefix_space", false},
                                                    {"trim_offsets", true},
                                                    {"use_regex", false}}};
    std::ofstream(path) << tokenizer.dump();
    return true;
  }();
  EXPECT_TRUE(written);
  return kModel.folder.path();
}
