// tokenizer.json and tokenizer_config.json of Hugging Face (formats: the `tokenizers` package
// 0.23). Only what byte-level BPE needs is read; a field that would change ids and is not supported
// is an error, never ignored.
#include <fmt/format.h>

#include <charconv>
#include <nlohmann/json.hpp>

#include "tokenizer/json_fields.h"
#include "tokenizer/tokenizer_json_pre_tokenizer.h"
#include "tokenizer/tokenizer_json_reader.h"
#include "tokenizer/tokenizer_parts.h"

namespace dunlin {
namespace {

using nlohmann::json;

// Whether text is normalised to NFC.
Result<bool> read_normalizer(const json& document) {
  const json* value = member(document, "normalizer");
  bool nfc = false;
  for (const json* step : sequence(value, "normalizers")) {
    if (text_member(*step, "type") != "NFC") {
      return model_error(fmt::format("normalizer is neither null nor NFC: {}", excerpt(*value)));
    }
    nfc = true;
  }
  return nfc;
}

Result<void> check_model(const json& model) {
  const std::string type = text_member(model, "type");
  if (type != "BPE")
    return model_error(fmt::format("model.type is {:?}; only \"BPE\" is supported", type));
  if (const json* dropout = member(model, "dropout"); dropout != nullptr && *dropout != 0.0) {
    return model_error(
        "model.dropout is set; tokenization with dropout is random and not supported");
  }
  for (const char* field : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    const json* value = member(model, field);
    if (value != nullptr && *value != "")
      return model_error(fmt::format("model.{} is not supported", field));
  }
  return {};
}

Result<AddedToken> read_added_token(const json& value, int64_t id, bool nfc) {
  AddedToken token;
  if (id < 0 || id >= Vocabulary::kMaxIds) {
    return model_error(
        fmt::format("the token id {} is outside 0..{}", id, Vocabulary::kMaxIds - 1));
  }
  token.id = static_cast<int32_t>(id);
  token.content = text_member(value, "content");
  for (const char* flag : {"single_word", "lstrip", "rstrip"}) {
    DUNLIN_ASSIGN_OR_RETURN(const bool set, boolean_or(value, flag, false));
    if (set)
      return model_error(
          fmt::format("the token {:?} has {} set, which is not supported", token.content, flag));
  }
  DUNLIN_ASSIGN_OR_RETURN(token.special, boolean_or(value, "special", false));
  DUNLIN_ASSIGN_OR_RETURN(token.normalized, boolean_or(value, "normalized", false));
  if (token.normalized && nfc && token.special) {
    return model_error(fmt::format(
        "the token {:?} is special and looked for in normalised text (normalized), which is "
        "not supported",
        token.content));
  }
  return token;
}

Result<void> read_added_tokens(const json& document, TokenizerParts& parts) {
  const json* list = member(document, "added_tokens");
  if (list == nullptr) return {};
  if (!list->is_array()) return model_error("not an array");
  for (const json& value : *list) {
    const json* id = member(value, "id");
    if (id == nullptr || !id->is_number_integer())
      return model_error("an added token has no integer id");
    DUNLIN_ASSIGN_OR_RETURN(AddedToken token,
                            read_added_token(value, id->get<int64_t>(), parts.nfc));
    DUNLIN_RETURN_IF_ERROR(parts.add(std::move(token)));
  }
  return {};
}

// The token that a TemplateProcessing post-processor puts before a single text.
void read_bos_from_template(const json& document, TokenizerParts& parts) {
  for (const json* step : sequence(member(document, "post_processor"), "processors")) {
    if (text_member(*step, "type") != "TemplateProcessing") continue;
    const json* single = member(*step, "single");
    if (single == nullptr || !single->is_array() || single->empty()) continue;
    const json* first = member(single->front(), "SpecialToken");
    if (first == nullptr) continue;
    parts.bos_id = parts.added_id(text_member(*first, "id"));
    parts.adds_bos = parts.bos_id.has_value();
  }
}

// Fills `id` from a member that is a token's content or an object with it; leaves it when there is
// none.
Result<void> read_named_token(const json& config, const char* name, const TokenizerParts& parts,
                              std::optional<int32_t>& id) {
  const json* value = member(config, name);
  if (value == nullptr) return {};
  const std::string content =
      value->is_string() ? value->get<std::string>() : text_member(*value, "content");
  id = parts.added_id(content);
  if (!id) return model_error(fmt::format("{} is {:?}, which is no added token", name, content));
  return {};
}

Result<void> add_missing_tokens(const json& decoder, TokenizerParts& parts) {
  if (!decoder.is_object()) return model_error("not an object");
  for (const auto& [key, value] : decoder.items()) {
    int64_t id = -1;
    const auto [end, code] = std::from_chars(key.data(), key.data() + key.size(), id);
    if (code != std::errc() || end != key.data() + key.size())
      return model_error(fmt::format("{:?} is no id", key));
    DUNLIN_ASSIGN_OR_RETURN(AddedToken token, read_added_token(value, id, parts.nfc));
    if (parts.added_id(token.content) == token.id) continue;
    DUNLIN_RETURN_IF_ERROR(parts.add(std::move(token)));
  }
  return {};
}

Result<TokenizerParts> interpret(TokenizerJson read) {
  const json& document = read.document.value;
  const json* model = member(document, "model");
  if (model == nullptr) return model_error("the field model is missing");
  DUNLIN_RETURN_IF_ERROR(check_model(*model));
  if (read.vocabulary.size() == 0) return model_error("model.vocab is missing or empty");

  TokenizerParts parts;
  parts.vocabulary = std::move(read.vocabulary);
  parts.merges = std::move(read.merges);
  DUNLIN_RETURN_IF_ERROR(read_pre_tokenizer(document, parts));
  DUNLIN_ASSIGN_OR_RETURN(parts.nfc, read_normalizer(document));
  DUNLIN_ASSIGN_OR_RETURN(parts.ignore_merges, boolean_or(*model, "ignore_merges", false));
  parts.drops_unknown_bytes =
      member(*model, "unk_token") == nullptr && !is_true(*model, "byte_fallback");
  const json* decoder = member(document, "decoder");
  if (decoder == nullptr || text_member(*decoder, "type") != "ByteLevel") {
    return model_error("decoder is not ByteLevel, the only supported one");
  }
  const auto added = read_added_tokens(document, parts);
  if (!added.ok()) return added.error().with_context("added_tokens");
  read_bos_from_template(document, parts);
  return parts;
}

}  // namespace

Result<TokenizerParts> parse_tokenizer_json(std::string_view text, const std::string& origin) {
  auto read = read_tokenizer_json(text);
  if (!read.ok()) return read.error().with_context(origin);
  auto parts = interpret(std::move(read).value());
  if (!parts.ok()) return parts.error().with_context(origin);
  return parts;
}

Result<void> apply_tokenizer_config(std::string_view text, const std::string& origin,
                                    TokenizerParts& parts) {
  const auto read = read_tokenizer_json(text);
  if (!read.ok()) return read.error().with_context(origin);
  const json& config = read->document.value;
  if (!config.is_object()) return model_error(origin + ": not a JSON object");
  if (const json* decoder = member(config, "added_tokens_decoder")) {
    const auto added = add_missing_tokens(*decoder, parts);
    if (!added.ok()) return added.error().with_context(origin + ": added_tokens_decoder");
  }
  for (const auto& [name, id] :
       {std::pair("bos_token", &parts.bos_id), std::pair("eos_token", &parts.eos_id)}) {
    const auto named = read_named_token(config, name, parts, *id);
    if (!named.ok()) return named.error().with_context(origin);
  }
  const auto adds_bos = boolean_or(config, "add_bos_token", parts.adds_bos);
  if (!adds_bos.ok()) return adds_bos.error().with_context(origin);
  parts.adds_bos = *adds_bos;
  return {};
}

}  // namespace dunlin
