// The splitter of GPT-2 (openai/gpt-2, src/encoder.py).
#include "tokenizer/splitters/gpt2.h"

#include "tokenizer/splitters/splitter.h"

namespace dunlin {

const Splitter kGpt2Splitter = {"GPT-2", "", false, true,
                                split_into_pieces<end_of_gpt2_piece<false>>};

}  // namespace dunlin
