#include "library_models.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "support/text_model_folder.h"

namespace {

constexpr const char* kPattern = R"(\p{N}|\s?[^\s\p{N}]+|\s+)";

// A text model until the process ends. Tests run at the same time: each has folders of its own.
struct TextModelFolder {
  explicit TextModelFolder(const std::string& name,
                           void (*write)(const std::string& folder) = dunlin::write_text_model)
      : path(testing::TempDir() + "dunlin_library_" + name + "_" + std::to_string(getpid())) {
    std::filesystem::create_directories(path);
    write(path);
  }
  ~TextModelFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
  TextModelFolder(const TextModelFolder&) = delete;
  TextModelFolder& operator=(const TextModelFolder&) = delete;

  const std::string path;
};

}  // namespace

std::string ids_model() {
  return std::string(DUNLIN_SOURCE_DIR) + "/tests/data/llama_plain/model";
}

std::string text_model() {
  static const TextModelFolder folder("text");
  return folder.path;
}

std::string harmony_model() {
  static const TextModelFolder folder("harmony", dunlin::write_harmony_model);
  return folder.path;
}

std::string pattern_model() {
  static const TextModelFolder folder("pattern");
  static const bool written = [] {
    const std::string path = folder.path + "/tokenizer.json";
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
  return folder.path;
}
