// PreparedFiles: the artifacts of a prepared directory, what they were made from and for, and whether
// their bytes are still those that were written.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "artifact/reader.h"
#include "base/byte_source.h"
#include "base/result.h"
#include "checkpoint/prepared_manifest.h"
#include "checkpoint/shard_contents.h"

namespace dunlin {

// An error of a file of a model is of kind model.
template <typename T>
Result<T> of_model(Result<T> result) {
  if (result.ok()) return result;
  return model_error(result.error().message);
}

class PreparedFiles {
 public:
  struct File {
    std::string path;
    std::shared_ptr<const ByteSource> source;
    ArtifactReader reader;
    std::optional<ShardContents> contents;  // of a directory for a mesh

    uint64_t weights_bytes() const;
  };

  // Opens the files of weights that the manifest names, in `folder`. Errors name the file: damage of
  // its table, a file of another prepared model.
  static Result<std::shared_ptr<const PreparedFiles>> open(const std::string& folder,
                                                           const PreparedManifest& manifest);

  const std::vector<File>& files() const { return files_; }
  const std::string& fingerprint() const { return fingerprint_; }  // of the checkpoint
  const std::string& source() const { return source_; }  // its path when they were made, printable
  // Whether the weights lie as they were stored, in parts for the devices of a mesh.
  bool is_for_mesh() const { return for_mesh_; }
  // Names and values for people.
  const std::vector<std::pair<std::string, std::string>>& facts() const { return facts_; }

  // Reads every byte and compares it with its checksum. `progress` gets the fraction that is done. An
  // error (kind model) names the file.
  Result<void> check(const std::function<void(double)>& progress) const;

 private:
  explicit PreparedFiles(const PreparedManifest& manifest);
  Result<void> add(const std::string& path, const std::string& key);

  std::string fingerprint_, source_;
  bool for_mesh_;
  std::vector<std::pair<std::string, std::string>> facts_;
  std::vector<File> files_ = {};
};

}  // namespace dunlin
