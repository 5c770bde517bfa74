// A tokenizer as tokenizer.json and tokenizer_config.json of Hugging Face.
#pragma once

#include <optional>
#include <string>

#include "base/result.h"
#include "tokenizer/tokenizer_parts.h"

namespace dunlin {

// `parts` are those of a GGUF header: their splitter is that of a family. The `tokenizers` package
// gives the same ids.
Result<std::string> hf_tokenizer_text(TokenizerParts parts);

// Beginning and end of sequence, and the chat template.
std::string hf_tokenizer_config_text(const TokenizerParts& parts,
                                     const std::optional<std::string>& chat_template);

}  // namespace dunlin
