// The bytes of an artifact's header and table, for its writer and reader.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "artifact/artifact.h"
#include "base/result.h"

namespace dunlin::artifact_layout {

inline constexpr uint64_t kHeaderBytes = 64;
inline constexpr uint64_t kAlignment = 64;
inline constexpr uint32_t kVersion = 1;
// Of a table: that of an artifact of 4 TB has 8 MB of hashes.
inline constexpr uint64_t kMostTableBytes = 64u << 20;

struct Header {
  uint64_t table_offset = 0;
  uint64_t table_bytes = 0;
  uint64_t table_hash = 0;
  uint64_t file_bytes = 0;
};

struct Table {
  ArtifactId id = {};
  std::vector<ArtifactChunk> chunks = {};
};

uint64_t hash(std::span<const std::byte> bytes);

constexpr uint64_t aligned(uint64_t bytes) {
  return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}
// Pieces of a chunk of that many bytes; an empty chunk has none.
constexpr uint64_t pieces(uint64_t bytes) {
  return bytes / kArtifactPieceBytes + (bytes % kArtifactPieceBytes == 0 ? 0 : 1);
}

// Magic and version.
inline constexpr size_t kSignatureBytes = 12;
// The version that a file of that beginning is of; nothing when it is no artifact.
std::optional<uint32_t> version_of(std::span<const std::byte, kSignatureBytes> bytes);

std::array<std::byte, kHeaderBytes> encode(const Header& header);
std::vector<std::byte> encode(const Table& table);

// Errors say what is wrong, without the file's name.
Result<Header> decode_header(std::span<const std::byte, kHeaderBytes> bytes);
// Checks that the chunks follow each other from the header to the table, which must lie within the
// file.
Result<Table> decode_table(std::span<const std::byte> bytes, const Header& header);

}  // namespace dunlin::artifact_layout
