// The splitter of Llama 3 (tokenizer.json of meta-llama/Meta-Llama-3-8B, pre_tokenizer).
#include "tokenizer/splitters/llama3.h"

#include "tokenizer/splitters/splitter.h"

namespace dunlin {

const Splitter kLlama3Splitter = {
    "Llama 3",
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|)"
    R"(\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)",
    false, false, split_into_pieces<end_of_llama3_piece<3>>};

}  // namespace dunlin
