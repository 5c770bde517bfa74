// Reads recipes and computes synthetic weights:
//   key   = splitmix64(fnv1a64(tensor name) + seed)
//   code  = (splitmix64(key + element) >> 32) mod (2 span + 1) - span
//   value = (offset + code) * 2^-exponent
// splitmix64: Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.
// fnv1a64: the hash of Fowler, Noll and Vo.
#include "support/synthetic_recipe.h"

#include <bit>
#include <cmath>
#include <string_view>

#include "base/byte_source.h"
#include "base/check.h"
#include "base/float16.h"

namespace dunlin {
namespace {

constexpr uint64_t kRecipeLimit = 1 << 20;  // bytes

uint64_t fnv1a64(std::string_view text) {
  uint64_t hash = 0xcbf29ce484222325u;
  for (const char c : text) hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001b3u;
  return hash;
}

uint64_t splitmix64(uint64_t state) {
  uint64_t z = state + 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

SyntheticTensor parse_tensor(const nlohmann::json& entry) {
  return {.name = entry.at("name").get<std::string>(),
          .shape = entry.at("shape").get<std::vector<int64_t>>(),
          .offset = entry.at("offset").get<int64_t>(),
          .span = entry.at("span").get<int64_t>(),
          .exponent = entry.at("exponent").get<int>()};
}

SyntheticRecipe parse_recipe(const std::string& text) {
  const nlohmann::json json = nlohmann::json::parse(text);
  SyntheticRecipe recipe{.seed = json.at("seed").get<uint64_t>(),
                         .dtype = json.at("dtype").get<std::string>(),
                         .shards = json.at("shards").get<size_t>(),
                         .config = json.at("config"),
                         .generation_config = json.value("generation_config", nlohmann::json()),
                         .tensors = {},
                         .gguf = json.at("gguf")};
  for (const auto& entry : json.at("tensors")) recipe.tensors.push_back(parse_tensor(entry));
  return recipe;
}

void append_little_endian(uint32_t bits, int size, std::vector<std::byte>& bytes) {
  for (int i = 0; i < size; ++i) bytes.push_back(static_cast<std::byte>(bits >> (8 * i)));
}

}  // namespace

int64_t SyntheticTensor::elements() const {
  int64_t count = 1;
  for (const int64_t size : shape) count *= size;
  return count;
}

Result<SyntheticRecipe> read_synthetic_recipe(const std::string& path) {
  DUNLIN_ASSIGN_OR_RETURN(const std::string text, read_text_file(path, kRecipeLimit));
  try {
    SyntheticRecipe recipe = parse_recipe(text);
    const bool known = recipe.dtype == "F32" || recipe.dtype == "BF16" || recipe.dtype == "F16";
    if (!known) return model_error(path + ": dtype " + recipe.dtype + " is not F32, BF16 or F16");
    if (recipe.shards == 0) return model_error(path + ": shards is 0");
    return recipe;
  } catch (const nlohmann::json::exception& error) {
    return model_error(path + ": " + error.what());
  }
}

std::vector<float> synthetic_values(const SyntheticTensor& tensor, uint64_t seed) {
  const uint64_t key = splitmix64(fnv1a64(tensor.name) + seed);
  const uint64_t codes = 2 * static_cast<uint64_t>(tensor.span) + 1;
  const int64_t first = tensor.offset - tensor.span;
  const float scale = std::ldexp(1.0f, -tensor.exponent);
  std::vector<float> values(static_cast<size_t>(tensor.elements()));
  for (size_t i = 0; i < values.size(); ++i) {
    const uint64_t code = (splitmix64(key + i) >> 32) % codes;
    values[i] = static_cast<float>(first + static_cast<int64_t>(code)) * scale;
  }
  return values;
}

void append_values(const std::vector<float>& values, const std::string& dtype,
                   std::vector<std::byte>& bytes) {
  for (const float value : values) {
    if (dtype == "F32") {
      append_little_endian(std::bit_cast<uint32_t>(value), 4, bytes);
    } else if (dtype == "BF16") {
      append_little_endian(to_bfloat16(value).bits, 2, bytes);
    } else {
      DUNLIN_CHECK(dtype == "F16", dtype);
      append_little_endian(to_float16(value).bits, 2, bytes);
    }
  }
}

}  // namespace dunlin
