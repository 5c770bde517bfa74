#include "artifact/layout.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <set>
#include <string_view>

namespace dunlin::artifact_layout {
namespace {

static_assert(std::endian::native == std::endian::little,
              "integers are stored as they lie in memory");

// The first byte is no text, and the line feeds show a transfer that changed them.
constexpr std::array<unsigned char, 8> kMagic = {0x89, 'D', 'U', 'N', 'L', 'I', '\r', '\n'};
constexpr size_t kHashedBytes = kHeaderBytes - sizeof(uint64_t);

template <typename T>
void put(std::span<std::byte> into, size_t offset, T value) {
  std::memcpy(into.data() + offset, &value, sizeof value);
}
template <typename T>
T take(std::span<const std::byte> from, size_t offset) {
  T value;
  std::memcpy(&value, from.data() + offset, sizeof value);
  return value;
}

class TableWriter {
 public:
  void number(uint64_t value) {
    const auto* const bytes = reinterpret_cast<const std::byte*>(&value);
    bytes_.insert(bytes_.end(), bytes, bytes + sizeof value);
  }
  void text(const std::string& value) {
    number(value.size());
    const auto* const bytes = reinterpret_cast<const std::byte*>(value.data());
    bytes_.insert(bytes_.end(), bytes, bytes + value.size());
  }
  std::vector<std::byte> finish() && { return std::move(bytes_); }

 private:
  std::vector<std::byte> bytes_;
};

// After the first value that is not there, everything is zero and empty, and ok() false.
class TableReader {
 public:
  explicit TableReader(std::span<const std::byte> bytes) : rest_(bytes) {}

  uint64_t number() {
    uint64_t value = 0;
    if (take_bytes(sizeof value)) std::memcpy(&value, taken_.data(), sizeof value);
    return value;
  }
  std::string text() {
    if (!take_bytes(number())) return {};
    return std::string(reinterpret_cast<const char*>(taken_.data()), taken_.size());
  }
  // Whether `count` numbers may follow, so that a list is not reserved for nothing.
  bool has_numbers(uint64_t count) {
    ok_ = ok_ && count <= rest_.size() / sizeof(uint64_t);
    return ok_;
  }
  bool ok() const { return ok_; }
  bool at_end() const { return ok_ && rest_.empty(); }

 private:
  bool take_bytes(uint64_t count) {
    ok_ = ok_ && count <= rest_.size();
    taken_ = ok_ ? rest_.first(count) : std::span<const std::byte>();
    rest_ = ok_ ? rest_.subspan(count) : rest_;
    return ok_;
  }

  std::span<const std::byte> rest_;
  std::span<const std::byte> taken_;
  bool ok_ = true;
};

Error damaged(std::string_view what) {
  return runtime_error(fmt::format("damaged: {}", what));
}

ArtifactChunk read_chunk(TableReader& reader) {
  ArtifactChunk chunk{.name = reader.text(), .offset = reader.number(), .bytes = reader.number()};
  if (!reader.has_numbers(pieces(chunk.bytes))) return chunk;
  chunk.hashes.resize(pieces(chunk.bytes));
  for (uint64_t& each : chunk.hashes) each = reader.number();
  return chunk;
}

}  // namespace

uint64_t hash(std::span<const std::byte> bytes) {
  return XXH64(bytes.data(), bytes.size(), 0);
}

std::optional<uint32_t> version_of(std::span<const std::byte, kSignatureBytes> bytes) {
  if (std::memcmp(bytes.data(), kMagic.data(), kMagic.size()) != 0) return std::nullopt;
  return take<uint32_t>(bytes, kMagic.size());
}

std::array<std::byte, kHeaderBytes> encode(const Header& header) {
  std::array<std::byte, kHeaderBytes> bytes{};
  std::memcpy(bytes.data(), kMagic.data(), kMagic.size());
  put(bytes, 8, kVersion);
  put(bytes, 16, header.table_offset);
  put(bytes, 24, header.table_bytes);
  put(bytes, 32, header.table_hash);
  put(bytes, 40, header.file_bytes);
  put(bytes, kHashedBytes, hash(std::span(bytes).first(kHashedBytes)));
  return bytes;
}

std::vector<std::byte> encode(const Table& table) {
  TableWriter writer;
  writer.text(table.id.kind);
  writer.text(table.id.key);
  writer.number(table.chunks.size());
  for (const ArtifactChunk& chunk : table.chunks) {
    writer.text(chunk.name);
    writer.number(chunk.offset);
    writer.number(chunk.bytes);
    for (const uint64_t each : chunk.hashes) writer.number(each);
  }
  return std::move(writer).finish();
}

Result<Header> decode_header(std::span<const std::byte, kHeaderBytes> bytes) {
  const auto version = version_of(bytes.first<kSignatureBytes>());
  if (!version) return runtime_error("not a file of this program");
  if (*version != kVersion) {
    return runtime_error(fmt::format("of version {} of the format; this build reads version {}",
                                     *version, kVersion));
  }
  if (take<uint64_t>(bytes, kHashedBytes) != hash(bytes.first(kHashedBytes)))
    return damaged("the checksum of the header differs");
  return Header{.table_offset = take<uint64_t>(bytes, 16),
                .table_bytes = take<uint64_t>(bytes, 24),
                .table_hash = take<uint64_t>(bytes, 32),
                .file_bytes = take<uint64_t>(bytes, 40)};
}

Result<Table> decode_table(std::span<const std::byte> bytes, const Header& header) {
  if (hash(bytes) != header.table_hash) return damaged("the checksum of the table differs");
  TableReader reader(bytes);
  Table table;
  table.id.kind = reader.text();
  table.id.key = reader.text();
  const uint64_t count = reader.number();
  uint64_t next = kHeaderBytes;
  std::set<std::string> names;
  for (uint64_t i = 0; i < count && reader.ok(); ++i) {
    ArtifactChunk chunk = read_chunk(reader);
    const uint64_t room = header.table_offset - next;
    const bool fits = chunk.offset == next && chunk.bytes <= room && aligned(chunk.bytes) <= room;
    if (!reader.ok() || !fits || !names.insert(chunk.name).second) return damaged("the table");
    next += aligned(chunk.bytes);
    table.chunks.push_back(std::move(chunk));
  }
  if (!reader.at_end() || next != header.table_offset) return damaged("the table");
  return table;
}

}  // namespace dunlin::artifact_layout
