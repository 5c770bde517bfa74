#include "checkpoint/prepared_files.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <span>

namespace dunlin {
namespace {

constexpr uint64_t kMostContentsBytes = 64u << 20;

std::string printable(std::string text) {
  std::ranges::replace_if(text, [](char c) { return c < 0x20 || c > 0x7e; }, '?');
  return text;
}

}  // namespace

uint64_t PreparedFiles::File::weights_bytes() const {
  uint64_t bytes = 0;
  for (const ArtifactChunk& chunk : reader.chunks())
    if (chunk.name != kContentsChunk) bytes += chunk.bytes;
  return bytes;
}

PreparedFiles::PreparedFiles(const PreparedManifest& manifest)
    : fingerprint_(manifest.fingerprint),
      source_(printable(manifest.source)),
      for_mesh_(manifest.packing == kStoredPacking),
      facts_({{"source", source_},
              {"fingerprint", printable(fingerprint_)},
              {"packing", printable(manifest.packing)},
              {"precision", printable(manifest.precision)},
              {"mesh", printable(manifest.mesh)}}) {
  if (for_mesh_) facts_.emplace_back("axes", printable(manifest.axes));
}

Result<std::shared_ptr<const PreparedFiles>> PreparedFiles::open(const std::string& folder,
                                                                 const PreparedManifest& manifest) {
  const std::shared_ptr<PreparedFiles> files(new PreparedFiles(manifest));
  for (const std::string& name : manifest.weights)
    DUNLIN_RETURN_IF_ERROR(files->add(folder + "/" + name, manifest.key));
  return std::shared_ptr<const PreparedFiles>(files);
}

Result<void> PreparedFiles::add(const std::string& path, const std::string& key) {
  DUNLIN_ASSIGN_OR_RETURN(const auto source, open_file(path));
  DUNLIN_ASSIGN_OR_RETURN(ArtifactReader reader,
                          of_model(ArtifactReader::open(source, kWeightsKind)));
  if (reader.key() != key)
    return model_error(fmt::format("{}: belongs to another prepared model", path));
  std::optional<ShardContents> contents;
  if (for_mesh_) {
    DUNLIN_ASSIGN_OR_RETURN(const std::vector<std::byte> bytes,
                            of_model(reader.read(kContentsChunk, kMostContentsBytes)));
    const std::string text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    DUNLIN_ASSIGN_OR_RETURN(contents, parse_contents(text, path));
  }
  files_.push_back({path, source, std::move(reader), std::move(contents)});
  return {};
}

Result<void> PreparedFiles::check(const std::function<void(double)>& progress) const {
  uint64_t all = 0;
  for (const File& file : files_)
    for (const ArtifactChunk& chunk : file.reader.chunks()) all += chunk.bytes;
  uint64_t done = 0;
  const auto take = [&](std::span<const std::byte> piece) -> Result<void> {
    done += piece.size();
    progress(static_cast<double>(done) / static_cast<double>(all));
    return {};
  };
  for (const File& file : files_) {
    for (const ArtifactChunk& chunk : file.reader.chunks())
      DUNLIN_RETURN_IF_ERROR(of_model(file.reader.stream(chunk.name, take)));
  }
  return {};
}

}  // namespace dunlin
