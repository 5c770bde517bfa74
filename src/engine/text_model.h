// TextModel: the text side of a checkpoint: tokenizer, chat template, and prompts as token ids.
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

  Result<std::shared_ptr<const Tokenizer>> require_tokenizer() const;

  // The error of encode_chat for a model without tokenizer or chat template.
  Result<void> require_chat_template() const;

  // Ids of a text that goes to the model as it is, with the bos token where the model expects one. The text's special
  // tokens are recognised: whoever asks for raw text writes the template himself.
  Result<std::vector<int32_t>> encode_raw(std::string_view text) const;

  // Ids of a conversation ({"role", "content"} objects) through the chat template, ready for the assistant's answer. Only
  // the template's own words become special tokens or other added tokens that the template names.
  Result<std::vector<int32_t>> encode_chat(nlohmann::ordered_json messages) const;
};

TextModel load_text_model(const Checkpoint& checkpoint);

}  // namespace dunlin
