#include "support/text_model_folder.h"

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>

#include "support/harmony_tokenizer.h"
#include "support/synthetic_model.h"

namespace dunlin {
namespace {

constexpr int kVocabulary = 608;  // small_smollm2 has ids below 600

constexpr const char* kChatMl =
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";

void write_all(const std::string& path, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
}

// The recipe of a model with a vocabulary of another size.
nlohmann::ordered_json recipe_of(const std::string& model) {
  std::ifstream file(test_data("data/" + model + "/recipe.json"));
  auto recipe = nlohmann::ordered_json::parse(file);
  recipe["config"]["vocab_size"] = kVocabulary;
  recipe["config"]["eos_token_id"] = 2;
  recipe.erase("generation_config");
  for (auto& tensor : recipe["tensors"]) {
    const std::string name = tensor["name"];
    if (name == "lm_head.weight" || name == "model.embed_tokens.weight")
      tensor["shape"][0] = kVocabulary;
  }
  return recipe;
}

void write_model(const std::string& folder, const nlohmann::ordered_json& recipe) {
  write_all(folder + "/recipe.json", recipe.dump());
  if (!write_synthetic_directory(folder + "/recipe.json", folder).ok())
    throw std::runtime_error("cannot write a model to " + folder);
}

void write_tokenizer(const std::string& folder) {
  std::filesystem::copy_file(test_data("tokenizer/data/small_smollm2/tokenizer.json"),
                             folder + "/tokenizer.json",
                             std::filesystem::copy_options::overwrite_existing);
  const nlohmann::json config = {
      {"bos_token", "<|im_start|>"}, {"eos_token", "<|im_end|>"}, {"chat_template", kChatMl}};
  write_all(folder + "/tokenizer_config.json", config.dump());
}

}  // namespace

void write_text_model(const std::string& folder) {
  write_model(folder, recipe_of("llama_plain"));
  write_tokenizer(folder);
}

void write_text_diffusion_model(const std::string& folder, int mask_id) {
  auto recipe = recipe_of("dream_plain");
  recipe["config"]["mask_token_id"] = mask_id;
  write_model(folder, recipe);
  write_tokenizer(folder);
}

void write_vocabulary_files(const std::string& folder, const std::string& tokenizer_class) {
  const std::string path = folder + "/tokenizer.json";
  const std::string config_path = folder + "/tokenizer_config.json";
  std::ifstream file(path);
  const auto tokenizer = nlohmann::json::parse(file);
  auto config = nlohmann::json::object();
  if (std::filesystem::exists(config_path)) {
    std::ifstream config_file(config_path);
    config = nlohmann::json::parse(config_file);
  }
  config["tokenizer_class"] = tokenizer_class;
  for (auto token : tokenizer["added_tokens"]) {
    const std::string id = std::to_string(token["id"].get<int>());
    token.erase("id");
    config["added_tokens_decoder"][id] = token;
  }
  std::string merges = "#version: 0.2\n";
  for (const auto& merge : tokenizer["model"]["merges"])
    merges += merge[0].get<std::string>() + " " + merge[1].get<std::string>() + "\n";
  write_all(folder + "/vocab.json", tokenizer["model"]["vocab"].dump());
  write_all(folder + "/merges.txt", merges);
  write_all(config_path, config.dump());
  std::filesystem::remove(path);
}

void write_harmony_model(const std::string& folder) {
  write_model(folder, recipe_of("llama_plain"));
  write_all(folder + "/tokenizer.json", harmony_tokenizer_json());
}

void write_ascii_tokenizer(const std::string& folder) {
  nlohmann::json vocabulary = {{"\xC4\xA0", static_cast<int>(' ')}};
  for (char letter = '!'; letter <= '~'; ++letter)
    vocabulary[std::string(1, letter)] = static_cast<int>(letter);
  const nlohmann::json tokenizer = {{"version", "1.0"},
                                    {"added_tokens", nlohmann::json::array()},
                                    {"normalizer", nullptr},
                                    {"pre_tokenizer",
                                     {{"type", "ByteLevel"},
                                      {"add_prefix_space", false},
                                      {"trim_offsets", true},
                                      {"use_regex", true}}},
                                    {"decoder", {{"type", "ByteLevel"}}},
                                    {"model",
                                     {{"type", "BPE"},
                                      {"ignore_merges", true},
                                      {"vocab", vocabulary},
                                      {"merges", nlohmann::json::array()}}}};
  write_all(folder + "/tokenizer.json", tokenizer.dump());
}

}  // namespace dunlin
