#include "artifact/reader.h"

#include <fmt/format.h>

#include <algorithm>

#include "artifact/layout.h"

namespace dunlin {
namespace {

namespace layout = artifact_layout;

Error file_error(const ByteSource& source, std::string_view problem) {
  return runtime_error(fmt::format("{}: {}", source.name(), problem));
}

// Model files are errors of kind model for their source; what the engine wrote itself is not one.
Result<void> read_at(const ByteSource& source, uint64_t offset, std::span<std::byte> into) {
  const auto read = source.read_at(offset, into);
  return read.ok() ? read : runtime_error(read.error().message);
}

Result<layout::Header> read_header(const ByteSource& source) {
  std::array<std::byte, layout::kHeaderBytes> bytes{};
  if (source.size() < bytes.size())
    return file_error(source, fmt::format("{} bytes are too few", source.size()));
  DUNLIN_RETURN_IF_ERROR(read_at(source, 0, bytes));
  const auto header = layout::decode_header(bytes);
  if (!header.ok()) return file_error(source, header.error().message);
  if (header->file_bytes != source.size()) {
    return file_error(
        source, fmt::format("damaged: {} bytes instead of {}", source.size(), header->file_bytes));
  }
  const uint64_t after_header = header->file_bytes - layout::kHeaderBytes;
  if (header->table_bytes > std::min(after_header, layout::kMostTableBytes) ||
      header->table_offset != header->file_bytes - header->table_bytes) {
    return file_error(source, "damaged: the header");
  }
  return header;
}

Result<layout::Table> read_table(const ByteSource& source) {
  DUNLIN_ASSIGN_OR_RETURN(const layout::Header header, read_header(source));
  std::vector<std::byte> bytes(header.table_bytes);
  DUNLIN_RETURN_IF_ERROR(read_at(source, header.table_offset, bytes));
  auto table = layout::decode_table(bytes, header);
  if (!table.ok()) return file_error(source, table.error().message);
  return table;
}

}  // namespace

bool is_artifact(const std::string& path, const std::string& kind) {
  const auto source = open_file(path);
  std::array<std::byte, layout::kSignatureBytes> signature{};
  if (!source.ok() || !(*source)->read_at(0, signature).ok()) return false;
  if (layout::version_of(signature) != layout::kVersion) return false;
  const auto table = read_table(**source);
  return !table.ok() || table->id.kind == kind;
}

Result<ArtifactReader> ArtifactReader::open(const std::string& path, const std::string& kind) {
  auto source = open_file(path);
  if (!source.ok()) return runtime_error(source.error().message);
  return open(*std::move(source), kind);
}

Result<ArtifactReader> ArtifactReader::open(std::shared_ptr<const ByteSource> source,
                                            const std::string& kind) {
  DUNLIN_ASSIGN_OR_RETURN(layout::Table table, read_table(*source));
  if (table.id.kind != kind)
    return file_error(*source, fmt::format("holds a {}, not a {}", table.id.kind, kind));
  return ArtifactReader(std::move(source), std::move(table.id), std::move(table.chunks));
}

const ArtifactChunk* ArtifactReader::find(const std::string& name) const {
  const auto it = std::ranges::find(chunks_, name, &ArtifactChunk::name);
  return it == chunks_.end() ? nullptr : &*it;
}

Result<const ArtifactChunk*> ArtifactReader::require(const std::string& name) const {
  const ArtifactChunk* const chunk = find(name);
  if (chunk == nullptr) return file_error(*source_, fmt::format("the part {} is missing", name));
  return chunk;
}

Result<void> ArtifactReader::read_piece(const ArtifactChunk& chunk, size_t piece,
                                        std::span<std::byte> into) const {
  DUNLIN_RETURN_IF_ERROR(read_at(*source_, chunk.offset + piece * kArtifactPieceBytes, into));
  if (layout::hash(into) == chunk.hashes[piece]) return {};
  return file_error(*source_, fmt::format("damaged: the checksum of {} differs", chunk.name));
}

Result<void> ArtifactReader::stream(const std::string& name, const Take& take) const {
  DUNLIN_ASSIGN_OR_RETURN(const ArtifactChunk* const chunk, require(name));
  std::vector<std::byte> piece;
  for (size_t i = 0; i < chunk->hashes.size(); ++i) {
    const uint64_t begin = i * kArtifactPieceBytes;
    const uint64_t bytes = std::min(kArtifactPieceBytes, chunk->bytes - begin);
    piece.resize(layout::aligned(bytes));
    DUNLIN_RETURN_IF_ERROR(read_piece(*chunk, i, piece));
    DUNLIN_RETURN_IF_ERROR(take(std::span<const std::byte>(piece).first(bytes)));
  }
  return {};
}

Result<std::vector<std::byte>> ArtifactReader::read(const std::string& name, uint64_t limit) const {
  DUNLIN_ASSIGN_OR_RETURN(const ArtifactChunk* const chunk, require(name));
  if (chunk->bytes > limit)
    return file_error(
        *source_, fmt::format("the part {} has {} bytes, more than {}", name, chunk->bytes, limit));
  std::vector<std::byte> bytes;
  bytes.reserve(chunk->bytes);
  DUNLIN_RETURN_IF_ERROR(stream(name, [&bytes](std::span<const std::byte> piece) -> Result<void> {
    bytes.insert(bytes.end(), piece.begin(), piece.end());
    return {};
  }));
  return bytes;
}

}  // namespace dunlin
