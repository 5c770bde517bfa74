// Models of ollama, read in place from its store (ollama's server/modelpath.go and manifest package):
//   STORE/manifests/HOST/NAMESPACE/MODEL/TAG    JSON: layers with media types and digests
//         blobs/sha256-HEX                      their bytes
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/result.h"

namespace dunlin {

struct OllamaModel {
  std::string gguf = {};                 // the path of the blob: a GGUF file without that suffix
  std::vector<std::string> unused = {};  // its other layers: "template", "params", "system", ...
};

class OllamaStore {
 public:
  // OLLAMA_MODELS, else ~/.ollama/models, else that of ollama's service on Linux,
  // /usr/share/ollama/.ollama/models, whichever there is.
  static std::optional<OllamaStore> find();
  explicit OllamaStore(std::string folder) : folder_(std::move(folder)) {}

  const std::string& folder() const { return folder_; }

  // Whether `name` is in the store: MODEL[:TAG], NAMESPACE/MODEL[:TAG] or HOST/NAMESPACE/MODEL[:TAG].
  bool has(const std::string& name) const;

  // Errors (kind model): no such name; a manifest or blob that is missing or makes no sense; a model
  // that is more than its weights, with an adapter or a projector.
  Result<OllamaModel> open(const std::string& name) const;

 private:
  std::optional<std::string> manifest_path(const std::string& name) const;
  std::string folder_;
};

}  // namespace dunlin
