// Reads an artifact. Whatever does not agree with a checksum, the format or the length of the file is
// an error (kind runtime) that names the file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "artifact/artifact.h"
#include "base/byte_source.h"
#include "base/result.h"

namespace dunlin {

class ArtifactReader {
 public:
  // Reads header and table. Errors: not an artifact, another version or kind, damage there.
  static Result<ArtifactReader> open(const std::string& path, const std::string& kind);
  static Result<ArtifactReader> open(std::shared_ptr<const ByteSource> source,
                                     const std::string& kind);

  const std::string& name() const { return source_->name(); }  // of the file
  const std::string& key() const { return id_.key; }
  const std::vector<ArtifactChunk>& chunks() const { return chunks_; }
  const ArtifactChunk* find(const std::string& name) const;

  // Gives the chunk piece by piece, each once its checksum agrees. An error of `take` ends it.
  using Take = std::function<Result<void>(std::span<const std::byte> piece)>;
  Result<void> stream(const std::string& name, const Take& take) const;

  // One piece of a chunk of chunks(), into as many bytes as it has when rounded up to
  // kArtifactAlignment. Safe from any thread; allocates only for an error.
  Result<void> read_piece(const ArtifactChunk& chunk, size_t piece,
                          std::span<std::byte> into) const;

  // The whole chunk, at most `limit` bytes.
  Result<std::vector<std::byte>> read(const std::string& name, uint64_t limit) const;

 private:
  ArtifactReader(std::shared_ptr<const ByteSource> source, ArtifactId id,
                 std::vector<ArtifactChunk> chunks)
      : source_(std::move(source)), id_(std::move(id)), chunks_(std::move(chunks)) {}

  Result<const ArtifactChunk*> require(const std::string& name) const;

  std::shared_ptr<const ByteSource> source_;
  ArtifactId id_;
  std::vector<ArtifactChunk> chunks_;
};

// Whether the file is an artifact of the kind, whole or damaged: what may be replaced by another one.
// Damage can hide the kind. Nobody can read such a file any more, whatever it was, so the magic is
// enough. Not so for another version of the format, which another build may well read.
bool is_artifact(const std::string& path, const std::string& kind);

}  // namespace dunlin
