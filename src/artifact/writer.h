// Writes an artifact. A reader sees the old file or the new one, whenever the writer stops.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
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

  // Room for a chunk of so many bytes, behind those there are; its number. The bytes come in any number
  // of fills, in order, while others are filled, too. A piece that one fill has as a whole, and the end of
  // a chunk whose length is a multiple of 64, are written from where they lie; of the others each chunk that
  // is begun holds a copy of at most kArtifactPieceBytes.
  Result<size_t> reserve_chunk(const std::string& name, uint64_t bytes);
  Result<void> fill(size_t chunk, std::span<const std::byte> bytes);

  // Waits until what was written is on the disk (AtomicFile::synchronise()); pieces that are not full yet are not.
  Result<void> synchronise() { return file_.synchronise(); }

  // Every chunk that has room has its bytes. Nothing may follow.
  Result<void> commit();

 private:
  // Bytes of a chunk that are not written yet, as a copy, and where they will be.
  struct Piece {
    uint64_t at = 0;
    std::vector<std::byte> bytes = {};
    uint64_t missing = 0;  // of the chunk
  };

  ArtifactWriter(std::string path, AtomicFile file, ArtifactId id);

  Result<void> add_chunk(const std::string& name);
  Result<void> end_chunk();
  // `ends`: these are the last ones of the chunk.
  Result<void> take(size_t chunk, Piece& piece, std::span<const std::byte> bytes, bool ends);
  Result<void> finish(size_t chunk, Piece& piece);
  Result<void> write_copy(size_t chunk, Piece& piece);
  Result<void> write(size_t chunk, Piece& piece, std::span<const std::byte> bytes);

  std::string path_;
  AtomicFile file_;
  ArtifactId id_;
  std::vector<ArtifactChunk> chunks_ = {};
  bool appending_ = false;               // to the last chunk
  Piece piece_ = {};                     // of that one
  std::map<size_t, Piece> pieces_ = {};  // of those that have room, by their numbers
  uint64_t end_;                         // of all chunks
};

}  // namespace dunlin
