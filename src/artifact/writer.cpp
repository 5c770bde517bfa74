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

Result<void> ArtifactWriter::add_chunk(const std::string& name) {
  DUNLIN_CHECK(std::ranges::find(chunks_, name, &ArtifactChunk::name) == chunks_.end(), name);
  DUNLIN_RETURN_IF_ERROR(end_chunk());
  chunks_.push_back({.name = name, .offset = end_});
  return {};
}

Result<void> ArtifactWriter::begin_chunk(const std::string& name) {
  DUNLIN_RETURN_IF_ERROR(add_chunk(name));
  appending_ = true;
  piece_.at = end_;
  return {};
}

Result<void> ArtifactWriter::append(std::span<const std::byte> bytes) {
  DUNLIN_CHECK(appending_, "append without a chunk");
  chunks_.back().bytes += bytes.size();
  return take(chunks_.size() - 1, piece_, bytes, /*ends=*/false);
}

Result<size_t> ArtifactWriter::reserve_chunk(const std::string& name, uint64_t bytes) {
  DUNLIN_RETURN_IF_ERROR(add_chunk(name));
  const size_t chunk = chunks_.size() - 1;
  chunks_[chunk].bytes = bytes;
  if (bytes > 0) pieces_[chunk] = {.at = end_, .bytes = {}, .missing = bytes};
  end_ += layout::aligned(bytes);
  return chunk;
}

Result<void> ArtifactWriter::fill(size_t chunk, std::span<const std::byte> bytes) {
  if (bytes.empty()) return {};
  const auto it = pieces_.find(chunk);
  DUNLIN_CHECK(it != pieces_.end() && bytes.size() <= it->second.missing,
               "more than the chunk has");
  Piece& piece = it->second;
  piece.missing -= bytes.size();
  DUNLIN_RETURN_IF_ERROR(take(chunk, piece, bytes, piece.missing == 0));
  if (piece.missing > 0) return {};
  DUNLIN_RETURN_IF_ERROR(finish(chunk, piece));
  pieces_.erase(it);
  return {};
}

Result<void> ArtifactWriter::commit() {
  DUNLIN_RETURN_IF_ERROR(end_chunk());
  DUNLIN_CHECK(pieces_.empty(), "a chunk without its bytes");
  const auto table = layout::encode(layout::Table{.id = id_, .chunks = chunks_});
  if (table.size() > layout::kMostTableBytes)
    return runtime_error(fmt::format("{}: more parts than can be listed", path_));
  DUNLIN_RETURN_IF_ERROR(file_.overwrite(end_, table));
  const auto header = layout::encode(layout::Header{.table_offset = end_,
                                                    .table_bytes = table.size(),
                                                    .table_hash = layout::hash(table),
                                                    .file_bytes = end_ + table.size()});
  DUNLIN_RETURN_IF_ERROR(file_.overwrite(0, header));
  return file_.commit();
}

Result<void> ArtifactWriter::end_chunk() {
  if (!appending_) return {};
  DUNLIN_RETURN_IF_ERROR(finish(chunks_.size() - 1, piece_));
  end_ = piece_.at;
  appending_ = false;
  return {};
}

// What lies there as a whole piece is written from where it lies, and copied nowhere: so is the end of a
// chunk that needs no padding.
Result<void> ArtifactWriter::take(size_t chunk, Piece& piece, std::span<const std::byte> bytes,
                                  bool ends) {
  while (!bytes.empty()) {
    const size_t room = kArtifactPieceBytes - piece.bytes.size();
    const auto part = bytes.first(std::min(bytes.size(), room));
    bytes = bytes.subspan(part.size());
    const bool last = ends && bytes.empty() && layout::aligned(part.size()) == part.size();
    if (piece.bytes.empty() && (part.size() == kArtifactPieceBytes || last)) {
      DUNLIN_RETURN_IF_ERROR(write(chunk, piece, part));
      continue;
    }
    piece.bytes.insert(piece.bytes.end(), part.begin(), part.end());
    if (piece.bytes.size() == kArtifactPieceBytes) DUNLIN_RETURN_IF_ERROR(write_copy(chunk, piece));
  }
  return {};
}

// With the padding of the chunk.
Result<void> ArtifactWriter::finish(size_t chunk, Piece& piece) {
  piece.bytes.resize(layout::aligned(piece.bytes.size()));
  return piece.bytes.empty() ? Result<void>() : write_copy(chunk, piece);
}

Result<void> ArtifactWriter::write_copy(size_t chunk, Piece& piece) {
  DUNLIN_RETURN_IF_ERROR(write(chunk, piece, piece.bytes));
  piece.bytes.clear();
  return {};
}

Result<void> ArtifactWriter::write(size_t chunk, Piece& piece, std::span<const std::byte> bytes) {
  chunks_[chunk].hashes.push_back(layout::hash(bytes));
  DUNLIN_RETURN_IF_ERROR(file_.overwrite(piece.at, bytes));
  piece.at += bytes.size();
  return {};
}

}  // namespace dunlin
