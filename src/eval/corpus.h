// A text as the ids that are scored, and whether two models agree on what ids mean.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace dunlin {

struct Corpus {
  std::vector<int32_t> ids = {};
  // The token that stands at the beginning of every window, in place of the text's own; nothing
  // where the model expects none.
  std::optional<int32_t> bos = {};
  int64_t vocabulary = 0;  // of the model: rows of its logits
};

// Encodes `text` with the tokenizer of the model at `model_path`, whose headers alone are read. As
// llama-perplexity: special tokens in the text are text, one line feed at its end is dropped, and
// the bos token comes first where the model expects one. Errors name the model: it cannot be read
// or has no tokenizer; an id of the text is outside the logits.
Result<Corpus> encode_corpus(const std::string& model_path, std::string_view text);

// An error (kind usage) that names what differs unless every id means the same to both models: as
// many logits, and the same bytes for every token. A reference without a tokenizer is taken at the
// number of its logits.
Result<void> check_same_vocabulary(const std::string& model_path,
                                   const std::string& reference_path);

}  // namespace dunlin
