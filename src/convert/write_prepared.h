// Writes a checkpoint as a prepared directory: its weights as a back end computes with them, or as they
// are stored in shards for a mesh.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "backend/api.h"
#include "base/result.h"
#include "checkpoint/checkpoint.h"
#include "convert/shard_packer.h"
#include "convert/write_tensors.h"

namespace dunlin {

// Bytes of weights in one file at most, but for a part that has more: what a run that is ended loses.
inline constexpr uint64_t kPreparedFileBytes = 1'000'000'000;

struct PreparedSettings {
  std::string packing = {};  // of the back end that made the packer
  Precision precision = Precision::automatic;
  uint64_t file_bytes = kPreparedFileBytes;
};

// The files are those of checkpoint/prepared_directory.h. The directory appears whole or not at all.
// Goes on where an earlier run with the same input and settings was ended, after its last whole file;
// the result is the number of parts that it had written. Errors: those of AtomicFolder and
// WeightPacker; weights that do not fit the disk (kind does_not_fit); a checkpoint that is prepared
// already (kind usage).
Result<size_t> write_prepared(const Checkpoint& checkpoint, WeightPacker& packer,
                              const PreparedSettings& settings, const std::string& path,
                              const ConvertProgress& progress);

// The same with a file for each shard of the mesh, whose weights every back end can read. Errors too:
// those of ShardPacker.
Result<size_t> write_shards(const Checkpoint& checkpoint, ShardPacker& packer,
                            const std::string& path, const ConvertProgress& progress);

}  // namespace dunlin
