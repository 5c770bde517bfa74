// TextModel: the text side of a checkpoint: tokenizer, chat format, and prompts as token ids.
#pragma once

#include <cstdint>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "checkpoint/checkpoint.h"
#include "tokenizer/harmony/marks.h"
#include "tokenizer/harmony/message.h"
#include "tokenizer/jinja/chat_template.h"
#include "tokenizer/tokenizer.h"

namespace dunlin {

struct TextModel {
  // Null when the checkpoint has none or one that cannot be read; the error then says which. A model can run on token ids
  // alone, so this is an error only for whoever needs text.
  std::shared_ptr<const Tokenizer> tokenizer = nullptr;
  std::optional<Error> tokenizer_error = std::nullopt;
  std::optional<ChatTemplate> chat_template = std::nullopt;  // likewise
  std::optional<Error> chat_template_error = std::nullopt;
  // Of a tokenizer that has all marks of Harmony (GPT-OSS): conversations are written and read natively, and the chat
  // template is not used. A template cannot tell what a message says from what it means, and files of GPT-OSS come with
  // several, older ones among them.
  std::optional<harmony::Marks> harmony = std::nullopt;

  Result<std::shared_ptr<const Tokenizer>> require_tokenizer() const;

  // The error of encode_chat for a model without tokenizer or chat format.
  Result<void> require_chat_format() const;
  bool has_chat_format() const { return harmony.has_value() || chat_template.has_value(); }
  // Whether encode_chat makes anything of an effort.
  bool knows_reasoning_effort() const;

  // Ids of a text that goes to the model as it is, with the bos token where the model expects one. The text's special
  // tokens are recognised: whoever asks for raw text writes the template himself.
  Result<std::vector<int32_t>> encode_raw(std::string_view text) const;

  // Ids of a conversation ({"role", "content"} objects, for Harmony also harmony/chat_messages.h) in the model's chat
  // format, ready for the assistant's answer. Only the format's own words become special tokens or other added tokens
  // that the template names. A chat template gets the effort as its variable reasoning_effort, when there is one.
  Result<std::vector<int32_t>> encode_chat(
      nlohmann::ordered_json messages,
      std::optional<harmony::ReasoningEffort> effort = std::nullopt) const;
};

// Without chat format, tokenizer or both where the checkpoint has none.
TextModel load_text_model(const Checkpoint& checkpoint);

}  // namespace dunlin
