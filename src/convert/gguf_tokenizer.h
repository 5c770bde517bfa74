// A tokenizer as the keys tokenizer.ggml.* of a GGUF file.
#pragma once

#include "base/metadata.h"
#include "base/result.h"
#include "checkpoint/gguf_writer.h"
#include "tokenizer/tokenizer_parts.h"

namespace dunlin {

// Beginning and ends of sequence. `config` is a model's canonical one, `parts` its tokenizer or
// null; what the tokenizer names comes first, as llama.cpp's converter has it. GGUF holds three ends
// (eos, eot, eom): which of them an id is does not matter, generation stops at each; of more the
// others are dropped with a warning.
Result<void> add_special_ids(const Metadata& config, const TokenizerParts* parts,
                             GgufWriter& writer);

// Tokens, their types, merges and the name of the pre-tokenizer. A row of the embedding without a
// token becomes an unused one. Errors (kind model): a pre-tokenizer that GGUF has no name for, more
// tokens than the model's rows.
Result<void> add_tokens(const Metadata& config, TokenizerParts parts, GgufWriter& writer);

}  // namespace dunlin
