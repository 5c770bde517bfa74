#include "checkpoint/chat_template_source.h"

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string_view>

#include "base/byte_source.h"
#include "base/owned_json.h"
#include "checkpoint/text_directory.h"

namespace dunlin {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kMaxConfigBytes = 64u << 20;  // tokenizer_config.json lists every added token

// chat_template of tokenizer_config.json: a string, or a list of named ones of which "default" is meant.
Result<std::string> template_of_config(const fs::path& path) {
  DUNLIN_ASSIGN_OR_RETURN(const std::string text, read_text_file(path.string(), kMaxConfigBytes));
  const Error none = model_error(path.string() + ": no chat_template");
  OwnedJson<nlohmann::json> parsed;
  try {
    parsed = parse_json<nlohmann::json>(text);
  } catch (const nlohmann::json::exception&) {
    return none;
  }
  const nlohmann::json& config = parsed.value;
  if (!config.is_object() || !config.contains("chat_template")) return none;
  const auto& value = config["chat_template"];
  if (value.is_string()) return value.get<std::string>();
  if (!value.is_array()) return none;
  for (const auto& entry : value) {
    const bool named = entry.is_object() && entry.contains("name") && entry["name"] == "default";
    if (named && entry.contains("template") && entry["template"].is_string())
      return entry["template"].get<std::string>();
  }
  return none;
}

}  // namespace

Result<std::string> chat_template_source(const Checkpoint& checkpoint) {
  if (!checkpoint.header().values().empty())
    return checkpoint.header().text("tokenizer.chat_template");
  const fs::path directory(text_directory(checkpoint));
  const fs::path own_file = directory / "chat_template.jinja";
  std::error_code ignored;
  if (fs::exists(own_file, ignored)) return read_text_file(own_file.string(), kMaxConfigBytes);
  return template_of_config(directory / "tokenizer_config.json");
}

}  // namespace dunlin
