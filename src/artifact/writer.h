// Writes an artifact. A reader sees the old file or the new one, whenever the writer stops.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "artifact/artifact.h"
#include "base/atomic_file.h"
#include "base/result.h"

namespace dunlin {

class ArtifactWriter {
 public:
  // Errors are those of AtomicFile. Without commit() nothing changes at `path`.
  static Result<ArtifactWriter> create(const std::string& path, ArtifactId id);

  // Chunks come in order and in as many appends as one likes. Names differ from each other. Errors
  // name the file: a disk that is full, for example.
  Result<void> begin_chunk(const std::string& name);
  Result<void> append(std::span<const std::byte> bytes);

  // Nothing may follow.
  Result<void> commit();

 private:
  ArtifactWriter(std::string path, AtomicFile file, ArtifactId id);

  Result<void> end_chunk();
  Result<void> flush_piece();

  std::string path_;
  AtomicFile file_;
  ArtifactId id_;
  std::vector<ArtifactChunk> chunks_ = {};
  std::vector<std::byte> piece_ = {};  // bytes of the last chunk that are not written yet
  uint64_t end_;                       // of what is written
};

}  // namespace dunlin
