// The manifest of a prepared directory: what its weights were made from and for, as JSON in an
// artifact.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/metadata.h"
#include "base/result.h"
#include "checkpoint/checkpoint.h"

namespace dunlin {

// Names in a prepared directory, and kinds of its artifacts.
inline constexpr const char* kManifestFile = "manifest.dunlin";
inline constexpr const char* kManifestKind = "prepared model";
inline constexpr const char* kManifestChunk = "manifest";
inline constexpr const char* kWeightsKind = "prepared weights";
// Keys of a GGUF file without its tensors: tokenizer and template of a model that came from one.
inline constexpr const char* kHeaderFile = "header.gguf";
// What else a directory may hold: tokenizer and template of a model from a Hugging Face directory.
inline constexpr const char* kTextFiles[] = {"tokenizer.json", "vocab.json", "merges.txt",
                                             "tokenizer_config.json", "chat_template.jinja"};

// The packing of a directory for a mesh: weights in the formats of the model.
inline constexpr const char* kStoredPacking = "stored";

struct PreparedFile {
  std::string name = {};
  uint64_t bytes = 0;
  std::string hash = {};  // Xxh3Hash of its bytes
};

struct PreparedManifest {
  std::string key = {};          // of the artifacts with the weights, which have the same
  std::string source = {};       // path of the checkpoint
  std::string fingerprint = {};  // of it
  std::string packing = {};      // Backend::packing, or kStoredPacking
  std::string precision = {};    // profile that the weights were packed for; "any" as stored
  std::string mesh = {};         // to_string(MeshShape): "data=1", "model=4"
  std::string axes = {};         // of its devices, where the weights are for more than one: "kv=4"
  Metadata config = Metadata();
  // Canonical name, shape, format and, where the rows here begin with their scales, scale_columns.
  std::vector<TensorInfo> tensors = {};
  std::vector<PreparedFile> files = {};   // text side
  std::vector<std::string> weights = {};  // names of artifacts
};

std::string manifest_text(const PreparedManifest& manifest);

// Errors (kind model) begin with `origin`: another version, a key that is missing or wrong, file
// names that lead elsewhere, a configuration that no model has.
Result<PreparedManifest> parse_manifest(const std::string& text, const std::string& origin);

// As PreparedFile holds it.
std::string hash_of(std::string_view text);

}  // namespace dunlin
