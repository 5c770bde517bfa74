// Writes a synthetic model as a Hugging Face directory. Shard i of n holds tensors
// [i T / n, (i + 1) T / n) of the T tensors in name order.
#include "support/synthetic_model.h"

#include <fmt/format.h>

#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <span>
#include <vector>

#include "base/byte_source.h"
#include "support/synthetic_recipe.h"

namespace dunlin {
namespace {

Result<void> write_json(const std::string& path, const nlohmann::json& json) {
  const std::string text = json.dump(2) + "\n";
  return write_file_atomically(path, std::as_bytes(std::span(text)));
}

// Returns the bytes of weight data. The header is padded with spaces so that data starts at a
// multiple of 8.
Result<uint64_t> write_safetensors(const std::string& path, const SyntheticRecipe& recipe,
                                   std::span<const SyntheticTensor> tensors) {
  nlohmann::ordered_json header;
  header["__metadata__"]["format"] = "pt";
  std::vector<std::byte> data;
  for (const SyntheticTensor& tensor : tensors) {
    const size_t begin = data.size();
    append_values(synthetic_values(tensor, recipe.seed), recipe.dtype, data);
    header[tensor.name] = {{"dtype", recipe.dtype}, {"shape", tensor.shape}};
    header[tensor.name]["data_offsets"] = {begin, data.size()};
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  std::vector<std::byte> file;
  for (int i = 0; i < 8; ++i) file.push_back(static_cast<std::byte>(text.size() >> (8 * i)));
  for (const char c : text) file.push_back(static_cast<std::byte>(c));
  file.insert(file.end(), data.begin(), data.end());
  DUNLIN_RETURN_IF_ERROR(write_file_atomically(path, file));
  return data.size();
}

std::string shard_name(size_t shard, size_t shards) {
  if (shards == 1) return "model.safetensors";
  return fmt::format("model-{:05}-of-{:05}.safetensors", shard + 1, shards);
}

}  // namespace

Result<void> write_synthetic_directory(const std::string& recipe_path, const std::string& folder) {
  DUNLIN_ASSIGN_OR_RETURN(const SyntheticRecipe recipe, read_synthetic_recipe(recipe_path));
  DUNLIN_RETURN_IF_ERROR(write_json(folder + "/config.json", recipe.config));
  if (!recipe.generation_config.is_null()) {
    DUNLIN_RETURN_IF_ERROR(
        write_json(folder + "/generation_config.json", recipe.generation_config));
  }
  nlohmann::json index;
  uint64_t total = 0;
  const std::span<const SyntheticTensor> tensors(recipe.tensors);
  for (size_t shard = 0; shard < recipe.shards; ++shard) {
    const size_t first = shard * tensors.size() / recipe.shards;
    const size_t end = (shard + 1) * tensors.size() / recipe.shards;
    const auto part = tensors.subspan(first, end - first);
    const std::string name = shard_name(shard, recipe.shards);
    DUNLIN_ASSIGN_OR_RETURN(const uint64_t bytes,
                            write_safetensors(folder + "/" + name, recipe, part));
    total += bytes;
    for (const SyntheticTensor& tensor : part) index["weight_map"][tensor.name] = name;
  }
  if (recipe.shards == 1) return {};
  index["metadata"]["total_size"] = total;
  return write_json(folder + "/model.safetensors.index.json", index);
}

}  // namespace dunlin
