// A tokenizer without tokenizer.json: vocab.json, merges.txt and the tokens that tokenizer_config.json
// adds, as the tokenizers of transformers that are written in Python have them. Dream, Dream-Coder and
// DiffuCoder are published so; their tokenization_dream.py has the rules of Qwen2's.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>

#include "tokenizer/json_fields.h"
#include "tokenizer/tokenizer_json_reader.h"
#include "tokenizer/tokenizer_parts.h"
#include "tokenizer/utf8.h"

namespace dunlin {
namespace {

// These files do not say how text is normalised and cut: that is code of the class, whose name must
// be known. All of these take NFC and the pattern of kQwen2Splitter.
constexpr std::array<std::string_view, 3> kClassesOfQwen2 = {"DreamTokenizer", "Qwen2Tokenizer",
                                                             "Qwen2TokenizerFast"};

// What the configuration says of the rules. Errors: a class that is not known.
Result<void> read_rules(std::string_view text, TokenizerParts& parts) {
  DUNLIN_ASSIGN_OR_RETURN(const TokenizerJson read, read_tokenizer_json(text));
  const nlohmann::json& config = read.document.value;
  const std::string name = text_member(config, "tokenizer_class");
  if (std::ranges::find(kClassesOfQwen2, std::string_view(name)) == kClassesOfQwen2.end()) {
    return model_error(
        fmt::format("tokenizer_class is {:?}; without a tokenizer.json only {} are supported", name,
                    fmt::join(kClassesOfQwen2, ", ")));
  }
  // Without them the marks of a chat would be read as text.
  if (member(config, "added_tokens_decoder") == nullptr)
    return model_error("added_tokens_decoder is missing; vocab.json has no special tokens");
  parts.splitter = &kQwen2Splitter;
  parts.nfc = true;
  parts.drops_unknown_bytes = member(config, "unk_token") == nullptr;
  return {};
}

// "left right" in every line; the first may name the version.
Result<void> read_merge_lines(std::string_view text, MergeList& merges) {
  if (const size_t valid = valid_utf8_prefix(text); valid != text.size())
    return model_error(fmt::format("not UTF-8 at byte {}", valid + 1));
  bool first = true;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    while (!line.empty() && (line.back() == '\r' || line.back() == ' ')) line.remove_suffix(1);
    const bool version = std::exchange(first, false) && line.starts_with("#version");
    if (line.empty() || version) continue;
    DUNLIN_RETURN_IF_ERROR(merges.add(line));
  }
  return {};
}

}  // namespace

Result<TokenizerParts> parse_vocab_json(const NamedText& vocabulary, const NamedText& merges,
                                        const NamedText& config) {
  TokenizerParts parts;
  if (const auto rules = read_rules(config.text, parts); !rules.ok())
    return rules.error().with_context(config.origin);
  auto tokens = read_vocabulary_json(vocabulary.text);
  if (!tokens.ok()) return tokens.error().with_context(vocabulary.origin);
  parts.vocabulary = std::move(tokens).value();
  if (parts.vocabulary.size() == 0) return model_error(vocabulary.origin + ": no tokens");
  if (const auto read = read_merge_lines(merges.text, parts.merges); !read.ok())
    return read.error().with_context(merges.origin);
  parts.merges_origin = merges.origin;
  DUNLIN_RETURN_IF_ERROR(apply_tokenizer_config(config.text, config.origin, parts));
  return parts;
}

}  // namespace dunlin
