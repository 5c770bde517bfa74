// Reads tokenizer.json in one pass: the vocabulary and the merges, hundreds of thousands of
// entries, go straight into their tables; everything else becomes a small document.
#pragma once

#include <nlohmann/json.hpp>
#include <string_view>

#include "base/owned_json.h"
#include "base/result.h"
#include "tokenizer/merge_list.h"
#include "tokenizer/vocabulary.h"

namespace dunlin {

struct TokenizerJson {
  OwnedJson<nlohmann::json> document;  // without model.vocab and model.merges
  Vocabulary vocabulary;               // of model.vocab
  MergeList merges;                    // of model.merges
};

// Errors name the field; the caller adds the file. The document is bounded as json_cursor.h says.
Result<TokenizerJson> read_tokenizer_json(std::string_view text);

// A vocab.json, which is what model.vocab is in a tokenizer.json. Errors as above.
Result<Vocabulary> read_vocabulary_json(std::string_view text);

}  // namespace dunlin
