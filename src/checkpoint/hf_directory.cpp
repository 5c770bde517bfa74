// A Hugging Face directory as a Checkpoint. Shards are plain file names inside the directory; each
// tensor must lie in the shard that the index names, and nowhere else.
#include "checkpoint/hf_directory.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <optional>

#include "base/byte_source.h"
#include "base/json_document.h"
#include "base/owned_json.h"
#include "base/text_checks.h"
#include "checkpoint/hf_config.h"
#include "checkpoint/pickle.h"
#include "checkpoint/safetensors_reader.h"
#include "checkpoint/stored_checkpoint.h"
#include "checkpoint/tensor_checks.h"

namespace dunlin {
namespace {

constexpr uint64_t kConfigLimit = 1 << 20;
constexpr uint64_t kIndexLimit = 32 << 20;  // the largest known (92,000 tensors) has 9 MB
constexpr size_t kMostShards = 1000;

bool exists(const std::string& path) {
  std::error_code ignored;
  // A link without a target counts as present: opening it then gives the error.
  return std::filesystem::symlink_status(path, ignored).type() >
         std::filesystem::file_type::not_found;
}

Result<Metadata> read_config(const std::string& path) {
  ConfigText config{path, {}};
  DUNLIN_ASSIGN_OR_RETURN(config.text, read_text_file(config.origin, kConfigLimit));
  std::optional<ConfigText> generation;
  // Not path::replace_filename: libstdc++ 12 crashes in it when an allocation fails.
  const std::string generation_path =
      path.substr(0, path.rfind('/') + 1) + "generation_config.json";
  if (exists(generation_path)) {
    DUNLIN_ASSIGN_OR_RETURN(std::string text, read_text_file(generation_path, kConfigLimit));
    generation = ConfigText{generation_path, std::move(text)};
  }
  return read_hf_config(config, generation);
}

Result<std::optional<QuantizationConfig>> read_quantization(const std::string& path) {
  DUNLIN_ASSIGN_OR_RETURN(std::string text, read_text_file(path, kConfigLimit));
  return read_hf_quantization({path, std::move(text)});
}

using WeightMap = std::map<std::string, std::string>;  // tensor to shard

Result<WeightMap> read_index(const std::string& path) {
  DUNLIN_ASSIGN_OR_RETURN(const std::string text, read_text_file(path, kIndexLimit));
  DUNLIN_ASSIGN_OR_RETURN(const OwnedJson<nlohmann::json> parsed, parse_json_object(text, path));
  const nlohmann::json& index = parsed.value;
  const auto map = index.find("weight_map");
  if (map == index.end() || !map->is_object())
    return model_error(fmt::format("{}: weight_map is not an object", path));
  WeightMap shards;
  for (const auto& [tensor, shard] : map->items()) {
    const std::string name = shard.is_string() ? shard.get<std::string>() : std::string();
    if (!is_visible_ascii(name) || name.find('/') != std::string::npos ||
        !name.ends_with(".safetensors")) {
      return model_error(fmt::format(
          "{}: {} is in {}, which is not the name of a safetensors file beside the index", path,
          quoted_text(tensor), quoted_text(name)));
    }
    shards[tensor] = name;
  }
  return shards;
}

struct Files {
  std::vector<TensorInfo> tensors;
  std::vector<std::shared_ptr<const ByteSource>> sources;
};

Result<void> read_file(const std::string& path, Files& files) {
  DUNLIN_ASSIGN_OR_RETURN(const auto source, open_file(path));
  DUNLIN_ASSIGN_OR_RETURN(auto tensors, read_safetensors_header(*source));
  for (TensorInfo& tensor : tensors) {
    files.tensors.push_back(std::move(tensor));
    files.sources.push_back(source);
  }
  return {};
}

Result<Files> read_shards(const std::string& folder, const std::string& index_path) {
  DUNLIN_ASSIGN_OR_RETURN(WeightMap shard_of, read_index(index_path));
  std::vector<std::string> names;
  for (const auto& [tensor, shard] : shard_of) names.push_back(shard);
  std::ranges::sort(names);
  names.erase(std::unique(names.begin(), names.end()), names.end());
  if (names.size() > kMostShards) {
    return model_error(
        fmt::format("{}: {} shards, more than {}", index_path, names.size(), kMostShards));
  }
  Files files;
  for (const std::string& name : names) {
    const size_t first = files.tensors.size();
    DUNLIN_RETURN_IF_ERROR(read_file(folder + "/" + name, files));
    for (size_t i = first; i < files.tensors.size(); ++i) {
      const auto it = shard_of.find(files.tensors[i].name);
      if (it == shard_of.end() || it->second != name) {
        return tensor_error(files.tensors[i],
                            fmt::format("is in this file, but {} does not say so", index_path));
      }
      shard_of.erase(it);
    }
  }
  if (!shard_of.empty()) {
    const auto& [tensor, shard] = *shard_of.begin();
    return model_error(fmt::format("{}/{}: the tensor {} is missing, though {} names it", folder,
                                   shard, quoted_text(tensor), index_path));
  }
  return files;
}

Result<Files> read_tensors(const std::string& folder) {
  const std::string single = folder + "/model.safetensors";
  const std::string index = folder + "/model.safetensors.index.json";
  if (exists(single)) {
    Files files;
    DUNLIN_RETURN_IF_ERROR(read_file(single, files));
    return files;
  }
  if (exists(index)) return read_shards(folder, index);
  if (const auto pickle = find_pickle(folder)) return pickle_error(*pickle);
  return model_error(fmt::format(
      "{}: neither model.safetensors nor model.safetensors.index.json is there", folder));
}

}  // namespace

Result<Metadata> read_model_config(const std::string& path) {
  std::error_code ignored;
  const bool directory = std::filesystem::is_directory(path, ignored);
  return read_config(directory ? path + "/config.json" : path);
}

Result<std::unique_ptr<Checkpoint>> open_hf_directory(const std::string& path) {
  if (!exists(path + "/config.json")) {
    if (const auto pickle = find_pickle(path)) return pickle_error(*pickle);
    return model_error(
        fmt::format("{}: no config.json; give a Hugging Face directory or a .gguf file", path));
  }
  DUNLIN_ASSIGN_OR_RETURN(Metadata config, read_config(path + "/config.json"));
  DUNLIN_ASSIGN_OR_RETURN(const auto quantization, read_quantization(path + "/config.json"));
  DUNLIN_ASSIGN_OR_RETURN(Files files, read_tensors(path));
  CheckpointParts parts{.path = path,
                        .container = "safetensors",
                        .config = std::move(config),
                        .header = Metadata(path)};
  DUNLIN_ASSIGN_OR_RETURN(parts.scales,
                          find_scale_tensors(quantization, files.tensors, files.sources));
  parts.tensors = std::move(files.tensors);
  parts.sources = std::move(files.sources);
  return make_checkpoint(std::move(parts));
}

}  // namespace dunlin
