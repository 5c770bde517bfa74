// The container of everything the engine writes for itself: saved conversations, packed weights,
// compiled programs. Named chunks of bytes with a kind and a key, every byte of the file covered by
// a checksum.
//
// File, all integers little-endian:
//   header, 64 bytes: magic[8], version u32, zero u32, then u64 each: offset, bytes and XXH64 of the
//     table; bytes of the file; zero; XXH64 of the 56 bytes before.
//   chunks: each begins at a multiple of 64 and is padded with zeros to one, so that it can be mapped
//     and read with the widest loads.
//   table, at the end: kind, key, then of each chunk its name, offset, bytes and the XXH64 of each
//     piece of kArtifactPieceBytes (the last one with its padding).
// XXH64 finds damage, not malice: a chunk is untrusted input to whoever reads it, like a model file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace dunlin {

// What one checksum covers, and what a reader holds at a time.
inline constexpr uint64_t kArtifactPieceBytes = 4u << 20;

// What a file holds, and for what it is valid. A file of another kind or version is an error; a
// key that differs is the reader's to judge: a cache has a miss, a conversation is computed anew.
struct ArtifactId {
  std::string kind = {};  // "session"
  std::string key = {};   // any bytes
};

struct ArtifactChunk {
  std::string name = {};
  uint64_t offset = 0;  // in the file
  uint64_t bytes = 0;
  std::vector<uint64_t> hashes = {};  // of each piece
};

}  // namespace dunlin
