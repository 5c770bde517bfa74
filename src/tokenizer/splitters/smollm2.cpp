// The splitter of SmolLM2 (tokenizer.json of HuggingFaceTB/SmolLM2-135M, pre_tokenizer): single
// digits, then GPT-2's.
#include "tokenizer/splitters/gpt2.h"
#include "tokenizer/splitters/splitter.h"

namespace dunlin {

const Splitter kSmolLm2Splitter = {"SmolLM2", "", true, true,
                                   split_into_pieces<end_of_gpt2_piece<true>>};

}  // namespace dunlin
