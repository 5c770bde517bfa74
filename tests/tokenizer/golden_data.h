// Golden data of the tokenizer tests: see tools/make_tokenizer_goldens.py for what the files hold.
#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tokenizer/tokenizer.h"

namespace dunlin {

inline const std::vector<std::string> kSmallTokenizers = {
    "small_llama3", "small_o200k", "small_qwen2", "small_gpt2", "small_smollm2", "small_r1"};

std::string golden_path(const std::string& name);
nlohmann::json load_golden_json(const std::string& name);

std::string bytes_of_hex(const std::string& hex);

// The texts that every NAME.ids.json has ids for; some are not UTF-8.
const std::vector<std::string>& corpus();

// A tokenizer trained by the tool, from its tokenizer.json alone.
std::shared_ptr<const Tokenizer> small_tokenizer(const std::string& name);

// Expects the ids of NAME.ids.json for every text, with and without special tokens.
void expect_golden_ids(const Tokenizer& tokenizer, const std::string& name);

// encode() that must succeed.
std::vector<int32_t> encode(const Tokenizer& tokenizer, std::string_view text,
                            bool parse_special = true);

}  // namespace dunlin
