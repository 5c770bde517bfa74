#include "engine/text_model.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/owned_json.h"
#include "checkpoint/chat_template_source.h"
#include "checkpoint/text_directory.h"
#include "tokenizer/harmony/chat_messages.h"
#include "tokenizer/harmony/render.h"
#include "tokenizer/jinja/chat_inputs.h"
#include "tokenizer/tokenizer_parts.h"

namespace dunlin {
namespace {

// The variable of templates that know one.
constexpr const char* kReasoningEffort = "reasoning_effort";

Result<std::shared_ptr<const Tokenizer>> load_tokenizer(const Checkpoint& checkpoint) {
  if (!checkpoint.header().values().empty()) {
    if (!checkpoint.header().has("tokenizer.ggml.model"))
      return model_error(checkpoint.path() + ": no tokenizer");
    return Tokenizer::from_gguf(checkpoint.header());
  }
  const std::string directory = text_directory(checkpoint);
  if (tokenizer_file(directory).empty()) return model_error(directory + ": no tokenizer.json");
  return Tokenizer::from_directory(directory);
}

Result<ChatTemplate> load_chat_template(const Checkpoint& checkpoint) {
  DUNLIN_ASSIGN_OR_RETURN(std::string source, chat_template_source(checkpoint));
  return ChatTemplate::parse(std::move(source), "chat_template");
}

std::string token_text(const Tokenizer& tokenizer, std::optional<int32_t> id) {
  return id.has_value() ? std::string(tokenizer.token_bytes(*id)) : std::string();
}

}  // namespace

TextModel load_text_model(const Checkpoint& checkpoint) {
  TextModel text;
  if (auto tokenizer = load_tokenizer(checkpoint); tokenizer.ok()) {
    text.tokenizer = *std::move(tokenizer);
    text.harmony = harmony::find_marks(*text.tokenizer);
  } else {
    text.tokenizer_error = tokenizer.error();
  }
  if (auto chat_template = load_chat_template(checkpoint); chat_template.ok()) {
    text.chat_template = *std::move(chat_template);
  } else {
    text.chat_template_error = chat_template.error();
  }
  return text;
}

Result<std::shared_ptr<const Tokenizer>> TextModel::require_tokenizer() const {
  if (tokenizer == nullptr)
    return tokenizer_error->with_context("text needs a tokenizer; --prompt-ids works without");
  return tokenizer;
}

bool TextModel::knows_reasoning_effort() const {
  if (harmony.has_value()) return true;
  return chat_template.has_value() &&
         chat_template->source().find(kReasoningEffort) != std::string::npos;
}

Result<void> TextModel::require_chat_format() const {
  if (const auto encoder = require_tokenizer(); !encoder.ok()) return encoder.error();
  if (!has_chat_format()) {
    return chat_template_error->with_context(
        "the model has no usable chat template; run --raw sends the text as it is");
  }
  return {};
}

Result<std::vector<int32_t>> TextModel::encode_raw(std::string_view raw) const {
  DUNLIN_ASSIGN_OR_RETURN(const auto encoder, require_tokenizer());
  DUNLIN_ASSIGN_OR_RETURN(auto ids, encoder->encode(raw, /*parse_special=*/true));
  const auto bos = encoder->bos_id();
  if (encoder->adds_bos() && bos.has_value() && (ids.empty() || ids.front() != *bos))
    ids.insert(ids.begin(), *bos);
  return ids;
}

Result<std::vector<int32_t>> TextModel::encode_chat(
    nlohmann::ordered_json messages, std::optional<harmony::ReasoningEffort> effort) const {
  OwnedJson<nlohmann::ordered_json> owned(std::move(messages));
  DUNLIN_RETURN_IF_ERROR(require_chat_format());
  if (harmony.has_value()) {
    const harmony::ChatSettings settings{.effort =
                                             effort.value_or(harmony::ReasoningEffort::medium)};
    DUNLIN_ASSIGN_OR_RETURN(const auto conversation,
                            harmony::read_chat(owned.value, /*tools=*/nullptr, settings));
    return tokenizer->encode(harmony::render(conversation), harmony::kAllMarks);
  }
  ChatInputs inputs{.messages = std::move(owned),
                    .add_generation_prompt = true,
                    .tools = nullptr,
                    .bos_token = token_text(*tokenizer, tokenizer->bos_id()),
                    .eos_token = token_text(*tokenizer, tokenizer->eos_id()),
                    .variables = nlohmann::ordered_json::object(),
                    .now = std::nullopt};
  if (effort.has_value()) inputs.variables[kReasoningEffort] = harmony::effort_name(*effort);
  DUNLIN_ASSIGN_OR_RETURN(const auto spans, chat_template->render(inputs));
  return tokenizer->encode(spans, chat_template->source());
}

}  // namespace dunlin
