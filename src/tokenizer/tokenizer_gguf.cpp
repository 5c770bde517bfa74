// The tokenizer of a GGUF header: the keys tokenizer.ggml.* (ggml, docs/gguf.md) with model =
// "gpt2", which is byte-level BPE with the splitter that tokenizer.ggml.pre names.
#include <fmt/format.h>

#include <algorithm>

#include "tokenizer/byte_alphabet.h"
#include "tokenizer/tokenizer_parts.h"
#include "tokenizer/utf8.h"

namespace dunlin {
namespace {

// Values of tokenizer.ggml.token_type.
enum TokenType : int64_t { kNormal = 1, kUnknown = 2, kControl = 3, kUserDefined = 4, kUnused = 5 };

struct Pre {
  std::string_view name;
  const Splitter* splitter;
  bool nfc;
  bool ignore_merges;
  bool adds_bos;  // where the file has no tokenizer.ggml.add_bos_token
};
// What the named tokenizers have in their tokenizer.json; a GGUF header does not repeat it.
constexpr Pre kPres[] = {
    {"llama-bpe", &kLlama3Splitter, false, true, true},
    {"llama3", &kLlama3Splitter, false, true, true},
    {"llama-v3", &kLlama3Splitter, false, true, true},
    {"qwen2", &kQwen2Splitter, true, false, false},
    {"deepseek-r1-qwen", &kQwen2Splitter, true, false, true},
    {"gpt-4o", &kO200kSplitter, false, true, false},
    {"smollm", &kSmolLm2Splitter, false, false, false},
    {"gpt-2", &kGpt2Splitter, false, false, false},
};

// ollama's converter calls every splitter that it does not know "default", that of gpt-oss among
// them (ollama, convert/tokenizer.go).
Result<std::string> pre_name(const Metadata& raw) {
  DUNLIN_ASSIGN_OR_RETURN(const std::string architecture, raw.text_or("general.architecture", ""));
  if (architecture == "gptoss") return std::string("gpt-4o");
  return raw.text("tokenizer.ggml.pre");
}

Result<Pre> read_pre(const Metadata& raw) {
  DUNLIN_ASSIGN_OR_RETURN(const std::string name, pre_name(raw));
  std::string supported;
  for (const Pre& pre : kPres) {
    if (pre.name == name) return pre;
    supported += fmt::format("{}{}", supported.empty() ? "" : ", ", pre.name);
  }
  return model_error(fmt::format("{}: tokenizer.ggml.pre is {:?}, not one of the supported {}",
                                 raw.origin(), name, supported));
}

template <typename T>
Result<const std::vector<T>*> read_list(const Metadata& raw, const char* key) {
  const Metadata::Value* value = raw.find(key);
  if (value == nullptr)
    return model_error(fmt::format("{}: the key {} is missing", raw.origin(), key));
  const auto* list = std::get_if<std::vector<T>>(value);
  if (list == nullptr)
    return model_error(fmt::format("{}: {} is not a list of the right type", raw.origin(), key));
  return list;
}

Result<void> add_token(int64_t id, const std::string& text, int64_t type, TokenizerParts& parts) {
  if (!is_valid_utf8(text)) return model_error(fmt::format("the token {} is not UTF-8", id));
  std::string bytes;
  const bool in_alphabet = append_from_byte_alphabet(text, bytes);
  switch (type) {
    case kNormal:
      return parts.vocabulary.add(id, in_alphabet ? bytes : text, in_alphabet);
    case kUnknown:
    case kControl:
    case kUserDefined:
      // Plain text here; a merge may name it where that reads the same in the byte alphabet.
      DUNLIN_RETURN_IF_ERROR(parts.vocabulary.add(id, text, in_alphabet && bytes == text));
      return parts.add({static_cast<int32_t>(id), text, type != kUserDefined, false});
    case kUnused:
      return {};  // fills the vocabulary up to the rows of the embedding
    default:
      return model_error(fmt::format(
          "the token {} has the type {}, which byte-level BPE does not have", id, type));
  }
}

Result<void> read_tokens(const Metadata& raw, TokenizerParts& parts) {
  DUNLIN_ASSIGN_OR_RETURN(const auto* tokens, read_list<std::string>(raw, "tokenizer.ggml.tokens"));
  DUNLIN_ASSIGN_OR_RETURN(const auto* types, read_list<int64_t>(raw, "tokenizer.ggml.token_type"));
  if (tokens->size() != types->size()) {
    return model_error(fmt::format("{}: tokenizer.ggml.token_type has {} entries for {} tokens",
                                   raw.origin(), types->size(), tokens->size()));
  }
  for (size_t id = 0; id < tokens->size(); ++id) {
    const auto added = add_token(static_cast<int64_t>(id), (*tokens)[id], (*types)[id], parts);
    if (!added.ok()) return added.error().with_context(raw.origin() + ": tokenizer.ggml.tokens");
  }
  return {};
}

Result<void> read_merges(const Metadata& raw, TokenizerParts& parts) {
  DUNLIN_ASSIGN_OR_RETURN(const auto* merges, read_list<std::string>(raw, "tokenizer.ggml.merges"));
  for (const std::string& merge : *merges) {
    const auto added = is_valid_utf8(merge)
                           ? parts.merges.add(merge)
                           : model_error(fmt::format("merge {} is not UTF-8", parts.merges.size()));
    if (!added.ok()) return added.error().with_context(raw.origin() + ": tokenizer.ggml.merges");
  }
  return {};
}

Result<std::optional<int32_t>> read_id(const Metadata& raw, const char* key,
                                       const TokenizerParts& parts) {
  if (!raw.has(key)) return std::optional<int32_t>();
  DUNLIN_ASSIGN_OR_RETURN(const int64_t id, raw.integer(key, 0, parts.vocabulary.size() - 1));
  return std::optional(static_cast<int32_t>(id));
}

}  // namespace

Result<TokenizerParts> parse_gguf_tokenizer(const Metadata& raw) {
  DUNLIN_ASSIGN_OR_RETURN(const std::string model, raw.text("tokenizer.ggml.model"));
  if (model != "gpt2") {
    return model_error(
        fmt::format("{}: tokenizer.ggml.model is {:?}; only \"gpt2\" (byte-level BPE) is supported",
                    raw.origin(), model));
  }
  DUNLIN_ASSIGN_OR_RETURN(const Pre pre, read_pre(raw));
  TokenizerParts parts;
  parts.splitter = pre.splitter;
  parts.nfc = pre.nfc;
  parts.ignore_merges = pre.ignore_merges;
  DUNLIN_RETURN_IF_ERROR(read_tokens(raw, parts));
  DUNLIN_RETURN_IF_ERROR(read_merges(raw, parts));
  DUNLIN_ASSIGN_OR_RETURN(parts.bos_id, read_id(raw, "tokenizer.ggml.bos_token_id", parts));
  DUNLIN_ASSIGN_OR_RETURN(parts.eos_id, read_id(raw, "tokenizer.ggml.eos_token_id", parts));
  DUNLIN_ASSIGN_OR_RETURN(parts.adds_bos,
                          raw.boolean_or("tokenizer.ggml.add_bos_token", pre.adds_bos));
  return parts;
}

std::optional<std::string> gguf_pre_name(const TokenizerParts& parts) {
  if (parts.splitter == nullptr || parts.adds_prefix_space) return std::nullopt;
  const Pre* found = nullptr;
  for (const Pre& pre : kPres) {
    const bool same = pre.splitter == parts.splitter && pre.nfc == parts.nfc &&
                      pre.ignore_merges == parts.ignore_merges;
    if (!same) continue;
    // Of two names for the same, the one that expects bos where the parts do.
    if (found == nullptr || (found->adds_bos != parts.adds_bos && pre.adds_bos == parts.adds_bos))
      found = &pre;
  }
  return found == nullptr ? std::nullopt : std::optional(std::string(found->name));
}

}  // namespace dunlin
