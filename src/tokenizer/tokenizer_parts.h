// TokenizerParts: what a tokenizer file says, in one form for tokenizer.json and GGUF. The readers
// fill it, Tokenizer is built from it.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/metadata.h"
#include "base/result.h"
#include "tokenizer/added_token_matcher.h"
#include "tokenizer/merge_list.h"
#include "tokenizer/splitters/pattern_splitter.h"
#include "tokenizer/splitters/splitter.h"
#include "tokenizer/vocabulary.h"

namespace dunlin {

struct TokenizerParts {
  Vocabulary vocabulary;  // all tokens, added ones too; no index yet
  MergeList merges;
  std::string merges_origin;  // their file, for errors; empty: that of the vocabulary
  std::vector<AddedToken> added_tokens;
  std::map<std::string, int32_t, std::less<>> added_ids;  // of added_tokens, by content
  // Of a known family, or else of patterns: one of them is set.
  const Splitter* splitter = nullptr;
  std::shared_ptr<const PatternSplitter> pattern_splitter;
  bool adds_prefix_space =
      false;         // text between added tokens begins with a space, added if need be
  bool nfc = false;  // text between added tokens is normalised to NFC
  bool ignore_merges =
      false;  // a piece that is a token is that token, even where merging would not reach it
  // Bytes without a token yield nothing (SmolLM2 lacks some control characters). False where the
  // file wants another token for them, which is not supported: then every byte needs its own.
  bool drops_unknown_bytes = true;
  std::optional<int32_t> bos_id;
  std::optional<int32_t> eos_id;
  bool adds_bos = false;

  // Registers an added token, which may already be in the vocabulary under the same id. Errors: a
  // content that is empty, too long, not UTF-8 or there twice; an id that belongs to another token.
  Result<void> add(AddedToken token);
  // The id of an added token with this content.
  std::optional<int32_t> added_id(std::string_view content) const;
};

// The readers. `origin` is the file's name for errors, which also name the field.
Result<TokenizerParts> parse_tokenizer_json(std::string_view text, const std::string& origin);
// Beginning and end of sequence, and added tokens that tokenizer.json lacks, from
// tokenizer_config.json.
Result<void> apply_tokenizer_config(std::string_view text, const std::string& origin,
                                    TokenizerParts& parts);
Result<TokenizerParts> parse_gguf_tokenizer(const Metadata& raw);

// A file's text, and its name for errors.
struct NamedText {
  std::string text = {};
  std::string origin = {};
};
// vocab.json, merges.txt and tokenizer_config.json, which together stand for a tokenizer.json. Errors: a
// tokenizer_class whose rules are not known, no added_tokens_decoder.
Result<TokenizerParts> parse_vocab_json(const NamedText& vocabulary, const NamedText& merges,
                                        const NamedText& config);
// The file of a directory that has the vocabulary: tokenizer.json, or where there is none vocab.json
// with a merges.txt beside it. Empty: neither is there.
std::string tokenizer_file(const std::string& directory);
// tokenizer.json, or vocab.json and merges.txt, and tokenizer_config.json of a directory, which only a
// tokenizer.json can do without.
Result<TokenizerParts> read_tokenizer_directory(const std::string& directory);

// The tokenizer.ggml.pre that stands for the parts' splitter, normalizer and ignore_merges; nothing
// where GGUF has no name for them.
std::optional<std::string> gguf_pre_name(const TokenizerParts& parts);

inline constexpr uint64_t kMaxTokenizerJsonBytes = uint64_t{256} << 20;  // GPT-OSS: 27 MiB

}  // namespace dunlin
