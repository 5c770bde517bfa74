// A small random model with a tokenizer and a ChatML template, for tests of what needs text.
#pragma once

#include <string>

namespace dunlin {

// Writes a Hugging Face directory of the existing folder `folder`: the recipe llama_plain with a
// vocabulary of small_smollm2's size. Throws when it cannot be written.
void write_text_model(const std::string& folder);

// The same of the recipe dream_plain, which fills in the masks `mask_id`. The tokenizer has ids below
// 600.
void write_text_diffusion_model(const std::string& folder, int mask_id);

// The same with the tokenizer of support/harmony_tokenizer.h, and no chat template.
void write_harmony_model(const std::string& folder);

// A tokenizer.json of the letters of ASCII under their own numbers, and of a space: for golden models,
// whose vocabularies have 160 ids and which have no tokenizer.
void write_ascii_tokenizer(const std::string& folder);

// Writes the tokenizer.json of `folder` as the vocab.json, merges.txt and tokenizer_config.json of a
// tokenizer that is written in Python, and removes it. What tokenizer_config.json has else stays.
void write_vocabulary_files(const std::string& folder, const std::string& tokenizer_class);

inline std::string test_data(const std::string& path) {
  return std::string(DUNLIN_SOURCE_DIR "/tests/") + path;
}

}  // namespace dunlin
