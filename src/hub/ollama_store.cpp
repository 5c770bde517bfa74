#include "hub/ollama_store.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string_view>

#include "base/byte_source.h"
#include "base/json_document.h"
#include "base/json_members.h"
#include "base/owned_json.h"
#include "base/text_checks.h"
#include "hub/checksum.h"
#include "hub/hub_names.h"

namespace dunlin {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr uint64_t kLongestManifest = 1 << 20;
constexpr const char* kDefaultHost = "registry.ollama.ai";
constexpr const char* kDefaultNamespace = "library";
constexpr const char* kDefaultTag = "latest";
constexpr std::string_view kLayerType = "application/vnd.ollama.image.";

bool is_there(const fs::path& path) {
  std::error_code ignored;
  return fs::exists(path, ignored);
}

struct Layer {
  std::string kind = {};    // what follows kLayerType; "" for other types
  std::string digest = {};  // hexadecimal digits of a SHA-256
};

std::optional<Layer> layer_of(const json& value) {
  constexpr std::string_view kAlgorithm = "sha256:";
  const std::string type = text_member(value, "mediaType");
  const std::string digest = text_member(value, "digest");
  if (!digest.starts_with(kAlgorithm)) return std::nullopt;
  Layer layer{.digest = digest.substr(kAlgorithm.size())};
  if (checksum_kind(layer.digest) != ChecksumKind::sha256) return std::nullopt;
  if (type.starts_with(kLayerType)) layer.kind = type.substr(kLayerType.size());
  return layer;
}

Result<std::vector<Layer>> read_layers(const std::string& path) {
  DUNLIN_ASSIGN_OR_RETURN(const std::string text, read_text_file(path, kLongestManifest));
  DUNLIN_ASSIGN_OR_RETURN(const OwnedJson<json> manifest, parse_json_object(text, path));
  const auto list = manifest.value.find("layers");
  if (list == manifest.value.end() || !list->is_array())
    return model_error(path + ": layers is not an array");
  std::vector<Layer> layers;
  for (const json& value : *list) {
    const auto layer = layer_of(value);
    if (!layer) return model_error(path + ": a layer without a digest sha256:...");
    layers.push_back(*layer);
  }
  return layers;
}

}  // namespace

std::optional<OllamaStore> OllamaStore::find() {
  const char* const named = std::getenv("OLLAMA_MODELS");
  if (named != nullptr && *named != '\0') return OllamaStore(named);
  const char* const home = std::getenv("HOME");
  if (home != nullptr && is_there(fs::path(home) / ".ollama/models/manifests"))
    return OllamaStore(std::string(home) + "/.ollama/models");
  const std::string service = "/usr/share/ollama/.ollama/models";
  if (is_there(service + "/manifests")) return OllamaStore(service);
  return std::nullopt;
}

std::optional<std::string> OllamaStore::manifest_path(const std::string& name) const {
  std::string path = name, tag = kDefaultTag;
  const size_t colon = name.rfind(':');
  if (colon != std::string::npos && name.find('/', colon) == std::string::npos) {
    path = name.substr(0, colon);
    tag = name.substr(colon + 1);
  }
  const auto slashes = std::count(path.begin(), path.end(), '/');
  if (slashes == 0) path = fmt::format("{}/{}", kDefaultNamespace, path);
  if (slashes < 2) path = fmt::format("{}/{}", kDefaultHost, path);
  path += "/" + tag;
  if (slashes > 2 || tag.find('/') != std::string::npos || !path_problem(path).empty())
    return std::nullopt;
  return folder_ + "/manifests/" + path;
}

bool OllamaStore::has(const std::string& name) const {
  const auto path = manifest_path(name);
  return path && is_there(*path);
}

Result<OllamaModel> OllamaStore::open(const std::string& name) const {
  const auto path = manifest_path(name);
  if (!path || !is_there(*path)) {
    return model_error(fmt::format("{}: not in ollama's store {}; `ollama list` shows what is",
                                   quoted_text(name), folder_));
  }
  DUNLIN_ASSIGN_OR_RETURN(const std::vector<Layer> layers, read_layers(*path));
  OllamaModel model;
  for (const auto& [kind, digest] : layers) {
    if (kind == "adapter" || kind == "projector") {
      return model_error(fmt::format("{}: the model has {} {}, which is not supported", *path,
                                     kind == "adapter" ? "an" : "a", kind));
    }
    if (kind != "model") {
      if (!kind.empty() && kind != "license") model.unused.push_back(kind);
      continue;
    }
    if (!model.gguf.empty()) return model_error(*path + ": more than one layer with weights");
    // ollama before 0.1.31 wrote a colon.
    model.gguf = fmt::format("{}/blobs/sha256-{}", folder_, digest);
    const std::string older = fmt::format("{}/blobs/sha256:{}", folder_, digest);
    if (!is_there(model.gguf) && is_there(older)) model.gguf = older;
  }
  if (model.gguf.empty()) return model_error(*path + ": no layer with weights");
  if (!is_there(model.gguf))
    return model_error(fmt::format("{}: {} is missing", *path, model.gguf));
  return model;
}

}  // namespace dunlin
