#include "artifact/writer.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "artifact/layout.h"
#include "base/check.h"

namespace dunlin {

namespace layout = artifact_layout;

ArtifactWriter::ArtifactWriter(std::string path, AtomicFile file, ArtifactId id)
    : path_(std::move(path)),
      file_(std::move(file)),
      id_(std::move(id)),
      end_(layout::kHeaderBytes) {}

Result<ArtifactWriter> ArtifactWriter::create(const std::string& path, ArtifactId id) {
  DUNLIN_ASSIGN_OR_RETURN(AtomicFile file, AtomicFile::create(path));
  // The header is known at the end.
  DUNLIN_RETURN_IF_ERROR(file.write(std::array<std::byte, layout::kHeaderBytes>{}));
  return ArtifactWriter(path, std::move(file), std::move(id));
}

Result<void> ArtifactWriter::begin_chunk(const std::string& name) {
  DUNLIN_CHECK(std::ranges::find(chunks_, name, &ArtifactChunk::name) == chunks_.end(), name);
  DUNLIN_RETURN_IF_ERROR(end_chunk());
  chunks_.push_back({.name = name, .offset = end_});
  return {};
}

Result<void> ArtifactWriter::append(std::span<const std::byte> bytes) {
  DUNLIN_CHECK(!chunks_.empty(), "append without a chunk");
  chunks_.back().bytes += bytes.size();
  while (!bytes.empty()) {
    const size_t room = kArtifactPieceBytes - piece_.size();
    const auto part = bytes.first(std::min(bytes.size(), room));
    piece_.insert(piece_.end(), part.begin(), part.end());
    bytes = bytes.subspan(part.size());
    if (piece_.size() == kArtifactPieceBytes) DUNLIN_RETURN_IF_ERROR(flush_piece());
  }
  return {};
}

Result<void> ArtifactWriter::commit() {
  DUNLIN_RETURN_IF_ERROR(end_chunk());
  const auto table = layout::encode(layout::Table{.id = id_, .chunks = chunks_});
  if (table.size() > layout::kMostTableBytes)
    return runtime_error(fmt::format("{}: more parts than can be listed", path_));
  DUNLIN_RETURN_IF_ERROR(file_.write(table));
  const auto header = layout::encode(layout::Header{.table_offset = end_,
                                                    .table_bytes = table.size(),
                                                    .table_hash = layout::hash(table),
                                                    .file_bytes = end_ + table.size()});
  DUNLIN_RETURN_IF_ERROR(file_.overwrite(0, header));
  return file_.commit();
}

Result<void> ArtifactWriter::end_chunk() {
  piece_.resize(layout::aligned(piece_.size()));
  return piece_.empty() ? Result<void>() : flush_piece();
}

Result<void> ArtifactWriter::flush_piece() {
  chunks_.back().hashes.push_back(layout::hash(piece_));
  DUNLIN_RETURN_IF_ERROR(file_.write(piece_));
  end_ += piece_.size();
  piece_.clear();
  return {};
}

}  // namespace dunlin
