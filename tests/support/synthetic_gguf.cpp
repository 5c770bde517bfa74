// Writes a synthetic model as GGUF version 3, following the list of keys and tensors in its recipe.
// Layout: ggml's docs/gguf.md; all numbers little-endian, tensor data aligned to 32 bytes. Rows of
// an interleaved tensor: stored h D + j is row h D + (j mod 2) (D / 2) + j div 2 of head size D.
#include <bit>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <map>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/byte_source.h"
#include "support/synthetic_model.h"
#include "support/synthetic_recipe.h"

namespace dunlin {
namespace {

constexpr size_t kAlignment = 32;
const std::map<std::string, uint32_t> kValueTypes = {
    {"UINT32", 4}, {"FLOAT32", 6}, {"BOOL", 7}, {"STRING", 8}};
const std::map<std::string, uint32_t> kTensorTypes = {{"F32", 0}, {"F16", 1}, {"BF16", 30}};

using Bytes = std::vector<std::byte>;

void append_u64(Bytes& bytes, uint64_t value, int size = 8) {
  for (int i = 0; i < size; ++i) bytes.push_back(static_cast<std::byte>(value >> (8 * i)));
}

void append_u32(Bytes& bytes, uint32_t value) {
  append_u64(bytes, value, 4);
}

void append_string(Bytes& bytes, std::string_view text) {
  append_u64(bytes, text.size());
  for (const char c : text) bytes.push_back(static_cast<std::byte>(c));
}

void align(Bytes& bytes) {
  bytes.resize((bytes.size() + kAlignment - 1) / kAlignment * kAlignment);
}

void append_key(Bytes& bytes, const nlohmann::json& entry) {
  const auto type = entry.at("type").get<std::string>();
  append_string(bytes, entry.at("key").get<std::string>());
  append_u32(bytes, kValueTypes.at(type));
  const nlohmann::json& value = entry.at("value");
  if (type == "STRING") {
    append_string(bytes, value.get<std::string>());
  } else if (type == "FLOAT32") {
    append_u32(bytes, std::bit_cast<uint32_t>(value.get<float>()));
  } else if (type == "BOOL") {
    bytes.push_back(static_cast<std::byte>(value.get<bool>()));
  } else {
    append_u32(bytes, value.get<uint32_t>());
  }
}

std::vector<float> interleave_rows(const std::vector<float>& values, const SyntheticTensor& tensor,
                                   int64_t head_dim) {
  const int64_t columns = tensor.elements() / tensor.shape[0];
  std::vector<float> stored;
  stored.reserve(values.size());
  for (int64_t row = 0; row < tensor.shape[0]; ++row) {
    const int64_t within = row % head_dim;
    const int64_t source = row - within + within % 2 * (head_dim / 2) + within / 2;
    const auto begin = values.begin() + source * columns;
    stored.insert(stored.end(), begin, begin + columns);
  }
  return stored;
}

// A tensor record of the file; appends its data to `data`, whose size is its offset.
void append_tensor(const nlohmann::json& entry, const SyntheticRecipe& recipe,
                   const std::map<std::string, const SyntheticTensor*>& tensors, Bytes& records,
                   Bytes& data) {
  std::vector<int64_t> shape;
  std::vector<float> values;
  if (entry.contains("values")) {  // rope_freqs.weight
    values = entry.at("values").get<std::vector<float>>();
    shape = {static_cast<int64_t>(values.size())};
  } else {
    const SyntheticTensor& tensor = *tensors.at(entry.at("source").get<std::string>());
    values = synthetic_values(tensor, recipe.seed);
    shape = tensor.shape;
    const auto head_dim = entry.value("interleaved_head_dim", int64_t{0});
    if (head_dim > 0) values = interleave_rows(values, tensor, head_dim);
  }
  const auto type = entry.at("type").get<std::string>();
  append_string(records, entry.at("tensor").get<std::string>());
  append_u32(records, static_cast<uint32_t>(shape.size()));
  for (auto size = shape.rbegin(); size != shape.rend(); ++size) {
    append_u64(records, static_cast<uint64_t>(*size));
  }
  append_u32(records, kTensorTypes.at(type));
  append_u64(records, data.size());
  append_values(values, type, data);
  align(data);
}

Bytes make_gguf(const SyntheticRecipe& recipe) {
  std::map<std::string, const SyntheticTensor*> tensors;
  for (const SyntheticTensor& tensor : recipe.tensors) tensors[tensor.name] = &tensor;
  Bytes keys;
  Bytes records;
  Bytes data;
  uint64_t key_count = 0;
  for (const nlohmann::json& entry : recipe.gguf) {
    if (entry.contains("key")) {
      append_key(keys, entry);
      ++key_count;
    } else {
      append_tensor(entry, recipe, tensors, records, data);
    }
  }
  Bytes file;
  for (const char c : std::string_view("GGUF")) file.push_back(static_cast<std::byte>(c));
  append_u32(file, 3);
  append_u64(file, recipe.gguf.size() - key_count);
  append_u64(file, key_count);
  for (const Bytes& part : {keys, records}) file.insert(file.end(), part.begin(), part.end());
  align(file);
  file.insert(file.end(), data.begin(), data.end());
  return file;
}

}  // namespace

Result<void> write_synthetic_gguf(const std::string& recipe_path, const std::string& path) {
  DUNLIN_ASSIGN_OR_RETURN(const SyntheticRecipe recipe, read_synthetic_recipe(recipe_path));
  try {
    return write_file_atomically(path, make_gguf(recipe));
  } catch (const std::exception& error) {  // a key or tensor of the recipe that is not there
    return model_error(recipe_path + ": gguf: " + error.what());
  }
}

}  // namespace dunlin
