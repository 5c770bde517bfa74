// Tokenizer: text to token ids and back. Byte-level byte pair encoding with added tokens, from
// tokenizer.json, from vocab.json and merges.txt, or from GGUF metadata. Ids equal those of the `tokenizers` package; where the
// pre-tokenizer is not one of the families of splitters/splitter.h, up to code points that Unicode 15 and
// later added (splitters/pattern.h).
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/metadata.h"
#include "base/result.h"
#include "tokenizer/added_token_matcher.h"
#include "tokenizer/byte_pair_merger.h"
#include "tokenizer/splitters/pattern_splitter.h"
#include "tokenizer/splitters/splitter.h"
#include "tokenizer/text_span.h"
#include "tokenizer/vocabulary.h"

namespace dunlin {

struct TokenizerParts;

// Immutable; every member function may be called from any thread at the same time.
class Tokenizer {
 public:
  // A tokenizer.json of at most 256 MiB. An unsupported or inconsistent file is an error that names
  // file and field.
  static Result<std::shared_ptr<const Tokenizer>> from_json_file(const std::string& path);
  // tokenizer.json, or vocab.json and merges.txt, and tokenizer_config.json (bos, eos, further added
  // tokens) of a directory, as read_tokenizer_directory() has it.
  static Result<std::shared_ptr<const Tokenizer>> from_directory(const std::string& directory);
  // The text of a tokenizer.json; `origin` names it in errors.
  static Result<std::shared_ptr<const Tokenizer>> from_json_text(std::string_view text,
                                                                 const std::string& origin);
  // The keys
  // tokenizer.ggml.{model,pre,tokens,token_type,merges,bos_token_id,eos_token_id,add_bos_token} of
  // a GGUF file.
  static Result<std::shared_ptr<const Tokenizer>> from_gguf(const Metadata& raw);

  // Ids of `text`, which may be any bytes: each maximal invalid subpart of UTF-8 counts as U+FFFD.
  // With `parse_special` the contents of special tokens become those tokens, otherwise they are
  // text like any other. Added tokens that are not special are recognised either way. No id is
  // added that is not in the text. Errors: more than 2^31 - 1 bytes; a pattern of the file that breaks its
  // bounds on this text.
  Result<std::vector<int32_t>> encode(std::string_view text, bool parse_special) const;
  // Ids of the spans' texts one after the other; pieces go across borders as if it were one text. A
  // special token needs every byte of its content in spans with allow_special, and so does an added
  // token that the source of the template names: the marks of roles are not special in every model
  // (DeepSeek-R1-Distill).
  Result<std::vector<int32_t>> encode(std::span<const TextSpan> spans,
                                      std::string_view template_source = {}) const;

  // UTF-8 of the ids' bytes, what is invalid as U+FFFD. Ids without a token give nothing.
  std::string decode(std::span<const int32_t> ids, bool skip_special) const;
  // Raw bytes of a token, possibly part of a character; empty for an id without a token. Valid as
  // long as the tokenizer.
  std::string_view token_bytes(int32_t id) const noexcept { return vocabulary_.bytes(id); }

  // Highest id + 1; the model's logits may have more rows.
  int32_t vocab_size() const noexcept { return vocabulary_.size(); }
  std::optional<int32_t> bos_id() const noexcept { return bos_id_; }
  std::optional<int32_t> eos_id() const noexcept { return eos_id_; }
  // Whether the model expects bos before a text that no chat template rendered.
  bool adds_bos() const noexcept { return adds_bos_; }
  // The id of an added token (special or not) by its content.
  std::optional<int32_t> id_of(std::string_view content) const noexcept;
  bool is_special(int32_t id) const noexcept {
    return id >= 0 && id < vocab_size() && is_special_[static_cast<size_t>(id)];
  }

 private:
  class Encoding;
  // Whether a piece that is exactly a token's bytes is that token. Without ignore_merges it is so
  // when merging the bytes ends there; found out at the first use and remembered (all threads find
  // the same).
  enum class WholePiece : uint8_t { unknown, yes, no };

  explicit Tokenizer(TokenizerParts parts);
  static Result<std::shared_ptr<const Tokenizer>> build(TokenizerParts parts,
                                                        const std::string& origin);
  bool is_whole_piece(int32_t id, std::string_view piece,
                      BytePairMerger::Workspace& workspace) const;

  Vocabulary vocabulary_;
  BytePairMerger merger_;
  const Splitter* splitter_;  // or, where it is nullptr,
  std::shared_ptr<const PatternSplitter> pattern_splitter_;
  bool adds_prefix_space_;
  bool nfc_;
  std::map<std::string, int32_t, std::less<>> added_ids_;     // of added tokens, by content
  AddedTokenMatcher raw_added_tokens_;                        // looked for first, in the raw text
  AddedTokenMatcher normalized_added_tokens_;                 // then these, in the normalised rest
  std::vector<bool> is_special_;                              // by id
  mutable std::vector<std::atomic<WholePiece>> whole_piece_;  // by id
  std::optional<int32_t> bos_id_;
  std::optional<int32_t> eos_id_;
  bool adds_bos_;
};

}  // namespace dunlin
