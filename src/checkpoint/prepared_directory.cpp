#include "checkpoint/prepared_directory.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <utility>

#include "artifact/reader.h"
#include "base/check.h"
#include "base/checked.h"
#include "base/mapped_file.h"
#include "base/text_checks.h"
#include "checkpoint/gguf_reader.h"
#include "checkpoint/join_shards.h"
#include "checkpoint/prepared_files.h"
#include "checkpoint/prepared_manifest.h"
#include "checkpoint/stored_checkpoint.h"
#include "formats/prepared_weights.h"
#include "formats/row_form.h"

namespace dunlin {
namespace {

constexpr uint64_t kMostManifestBytes = 64u << 20;
constexpr uint64_t kMostTextBytes = 256u << 20;

Result<PreparedManifest> read_manifest(const std::string& path) {
  DUNLIN_ASSIGN_OR_RETURN(const ArtifactReader reader,
                          of_model(ArtifactReader::open(path, kManifestKind)));
  DUNLIN_ASSIGN_OR_RETURN(const std::vector<std::byte> bytes,
                          of_model(reader.read(kManifestChunk, kMostManifestBytes)));
  return parse_manifest(std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()),
                        path);
}

class FileWeights final : public PreparedWeights {
 public:
  FileWeights(std::string folder, std::string packing, std::shared_ptr<const PreparedFiles> files)
      : folder_(std::move(folder)), packing_(std::move(packing)), files_(std::move(files)) {}

  // Once.
  Result<void> map() {
    for (const PreparedFiles::File& file : files_->files()) {
      DUNLIN_ASSIGN_OR_RETURN(MappedFile map, MappedFile::open(file.path));
      for (const ArtifactChunk& chunk : file.reader.chunks()) {
        if (chunk.offset > map.bytes().size() || chunk.bytes > map.bytes().size() - chunk.offset)
          return model_error(file.path + ": the file became shorter while it was read");
        parts_[chunk.name] = {map.bytes().subspan(chunk.offset, chunk.bytes), &file.reader, &chunk};
      }
      maps_.push_back(std::move(map));
    }
    return {};
  }

  const std::string& name() const override { return folder_; }
  const std::string& packing() const override { return packing_; }
  const std::string& source() const override { return files_->source(); }

  const std::byte* find(const PreparedPart& part) const override {
    const Part* const found = find_part(part);
    return found == nullptr ? nullptr : found->mapped.data();
  }

  void read_ahead() const override {
    for (const MappedFile& map : maps_) map.read_ahead();
  }

  uint64_t piece_bytes() const override { return kArtifactPieceBytes; }

  Result<void> read(const PreparedPart& part, uint64_t piece,
                    std::span<std::byte> into) const override {
    const Part* const found = find_part(part);
    DUNLIN_CHECK(found != nullptr, "a part that is not there");
    return of_model(found->reader->read_piece(*found->chunk, piece, into));
  }

 private:
  struct Part {
    std::span<const std::byte> mapped;
    const ArtifactReader* reader;  // of files_
    const ArtifactChunk* chunk;
  };

  const Part* find_part(const PreparedPart& part) const {
    const auto it = parts_.find(part.name);
    return it == parts_.end() || it->second.mapped.size() != part.bytes ? nullptr : &it->second;
  }

  std::string folder_, packing_;
  std::shared_ptr<const PreparedFiles> files_;
  std::vector<MappedFile> maps_ = {};
  std::unordered_map<std::string, Part> parts_ = {};
};

// What stands for the bytes of a weight that are no longer there.
class PackedSource final : public ByteSource {
 public:
  explicit PackedSource(std::shared_ptr<const PreparedWeights> weights)
      : weights_(std::move(weights)) {}

  Result<void> read_at(uint64_t /*offset*/, std::span<std::byte> /*into*/) const override {
    return model_error(fmt::format(
        "{}: its weights are packed (\"{}\") and cannot be read otherwise; use the model it was "
        "made from, {}",
        name(), weights_->packing(), weights_->source()));
  }
  uint64_t size() const override { return 0; }
  const std::string& name() const override { return weights_->name(); }

 private:
  std::shared_ptr<const PreparedWeights> weights_;
};

Result<void> check_file(const std::string& path, const PreparedFile& file) {
  DUNLIN_ASSIGN_OR_RETURN(const std::string text, read_text_file(path, kMostTextBytes));
  if (text.size() == file.bytes && hash_of(text) == file.hash) return {};
  return model_error(path + ": damaged: the checksum differs");
}

// As the checkpoint stored it, or with the scales before each row; nothing for a shape that its format
// does not have.
std::optional<int64_t> stored_bytes(const TensorInfo& tensor) {
  const RowForm form = {&traits(tensor.format), tensor.shape.back(), tensor.scale_columns};
  const int64_t block = form.format->block_elements;
  if (form.columns % block != 0) return std::nullopt;
  std::optional<int64_t> bytes = checked_mul(form.columns / block, form.format->block_bytes);
  const std::optional<int64_t> scale_bytes = checked_mul(form.scales(), int64_t{4});
  bytes = bytes && scale_bytes ? checked_add(*bytes, *scale_bytes) : std::nullopt;
  for (size_t i = 0; i + 1 < tensor.shape.size() && bytes; ++i)
    bytes = checked_mul(*bytes, tensor.shape[i]);
  return bytes;
}

Result<Metadata> read_header(const std::string& path) {
  DUNLIN_ASSIGN_OR_RETURN(const auto source, open_file(path));
  DUNLIN_ASSIGN_OR_RETURN(GgufHeader header, read_gguf_header(*source));
  return std::move(header.metadata);
}

Result<void> map_weights(CheckpointParts& parts, const std::string& packing) {
  const auto weights = std::make_shared<FileWeights>(parts.path, packing, parts.prepared_files);
  DUNLIN_RETURN_IF_ERROR(weights->map());
  parts.sources.assign(parts.tensors.size(), std::make_shared<PackedSource>(weights));
  parts.prepared = weights;
  return {};
}

}  // namespace

bool is_prepared_directory(const std::string& path) {
  std::error_code ignored;
  return std::filesystem::exists(path + "/" + kManifestFile, ignored);
}

Result<std::unique_ptr<Checkpoint>> open_prepared_directory(const std::string& path) {
  const std::string folder = path + "/";
  DUNLIN_ASSIGN_OR_RETURN(PreparedManifest manifest, read_manifest(folder + kManifestFile));
  CheckpointParts parts{.path = path, .container = "prepared"};
  parts.header = Metadata(path);
  for (const PreparedFile& file : manifest.files) {
    DUNLIN_RETURN_IF_ERROR(check_file(folder + file.name, file));
    if (file.name == kHeaderFile) {
      DUNLIN_ASSIGN_OR_RETURN(parts.header, read_header(folder + file.name));
    }
  }
  DUNLIN_ASSIGN_OR_RETURN(parts.prepared_files, PreparedFiles::open(path, manifest));
  parts.config = std::move(manifest.config);
  parts.tensors = std::move(manifest.tensors);
  for (TensorInfo& tensor : parts.tensors) {
    tensor.file = folder + kManifestFile;
    const auto bytes = stored_bytes(tensor);
    if (!bytes)
      return model_error(fmt::format("{}: the shape of {} is wrong", tensor.file, tensor.name));
    tensor.bytes = static_cast<uint64_t>(*bytes);
  }
  DUNLIN_RETURN_IF_ERROR(parts.prepared_files->is_for_mesh()
                             ? join_weights(parts)
                             : map_weights(parts, manifest.packing));
  return make_checkpoint(std::move(parts));
}

}  // namespace dunlin
