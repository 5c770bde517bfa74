#include "checkpoint/chat_template_source.h"

#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/byte_source.h"
#include "base/json_document.h"
#include "base/json_members.h"
#include "base/owned_json.h"
#include "checkpoint/text_directory.h"

namespace dunlin {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kMaxConfigBytes = 64u << 20;  // tokenizer_config.json lists every added token

// chat_template of tokenizer_config.json: a string, or a list of named ones of which "default" is meant.
Result<std::string> template_of_config(const fs::path& path) {
  DUNLIN_ASSIGN_OR_RETURN(const std::string text, read_text_file(path.string(), kMaxConfigBytes));
  DUNLIN_ASSIGN_OR_RETURN(const OwnedJson<nlohmann::json> config,
                          parse_json_object(text, path.string()));
  const nlohmann::json* const value = member(config.value, "chat_template");
  if (value == nullptr) return model_error(path.string() + ": no chat_template");
  if (value->is_string()) return value->get<std::string>();
  if (!value->is_array())
    return model_error(path.string() + ": chat_template is neither a text nor a list of templates");
  for (const nlohmann::json& entry : *value) {
    const nlohmann::json* const source = member(entry, "template");
    if (text_member(entry, "name") == "default" && source != nullptr && source->is_string())
      return source->get<std::string>();
  }
  return model_error(path.string() + ": chat_template has no template that is named default");
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
