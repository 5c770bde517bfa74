// A recipe.json of tests/data, and the formula that gives its weights (stated in
// tools/make_golden.py).
#pragma once

#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/result.h"

namespace dunlin {

struct SyntheticTensor {
  std::string name;            // Hugging Face name
  std::vector<int64_t> shape;  // outermost first
  int64_t offset = 0;
  int64_t span = 0;
  int exponent = 0;

  int64_t elements() const;
};

struct SyntheticRecipe {
  uint64_t seed = 0;
  std::string dtype;  // F32, BF16 or F16
  size_t shards = 1;
  nlohmann::json config;
  nlohmann::json generation_config;      // null when the model has none
  std::vector<SyntheticTensor> tensors;  // sorted by name
  nlohmann::json gguf;                   // the content of the GGUF file, in order
};

Result<SyntheticRecipe> read_synthetic_recipe(const std::string& path);

// The weights of `tensor`, row-major.
std::vector<float> synthetic_values(const SyntheticTensor& tensor, uint64_t seed);

// Appends the little-endian bytes of the values in the number format (F32, BF16, F16). The values
// of a synthetic tensor are exact in all three.
void append_values(const std::vector<float>& values, const std::string& dtype,
                   std::vector<std::byte>& bytes);

}  // namespace dunlin
