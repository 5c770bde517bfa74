// The splitter of Qwen2 and Qwen2.5 (tokenizer.json of Qwen/Qwen2.5-7B, pre_tokenizer): Llama 3's
// with single digits.
#include "tokenizer/splitters/llama3.h"
#include "tokenizer/splitters/splitter.h"

namespace dunlin {

const Splitter kQwen2Splitter = {"Qwen2",
                                 R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|)"
                                 R"(\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)",
                                 false, false, split_into_pieces<end_of_llama3_piece<1>>};

}  // namespace dunlin
