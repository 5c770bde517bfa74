// The field pre_tokenizer of a tokenizer.json: which splitter it is.
#pragma once

#include <nlohmann/json.hpp>

#include "base/result.h"
#include "tokenizer/tokenizer_parts.h"

namespace dunlin {

// Sets the splitter and whether a space is put before text. A published family's pre-tokenizer becomes
// its splitter; any other sequence of Split, Digits, Punctuation and ByteLevel a PatternSplitter. An
// error names what is not supported or which pattern is wrong.
Result<void> read_pre_tokenizer(const nlohmann::json& document, TokenizerParts& parts);

}  // namespace dunlin
