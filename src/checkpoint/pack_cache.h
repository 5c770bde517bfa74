// PackCache: packed weights on disk, so that a model is packed when it is loaded for the first time and
// not each time. An entry is an artifact with a chunk for each part, in the order of use: what is in a
// prepared directory, in one file. Its key is made of the files that the model lies in, what they are
// encoded in while they are read, the packing, and names and sizes of all parts, which tell forms,
// layers and profile; instruction sets and threads play no part.
//
// Whatever is wrong with an entry is a note, and with the folder a warning, once; never an error: the
// weights are packed again. Only who has no memory to pack them into makes an error of not_kept().
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "artifact/cache_folder.h"
#include "artifact/writer.h"
#include "base/result.h"
#include "checkpoint/checkpoint.h"
#include "formats/prepared_weights.h"

namespace dunlin {

struct PackCacheSettings {
  // Of packed weights. Below it nobody waits: those of a model of 135M parameters are 0.1 to 0.3 GB,
  // packed in about a second, and would be written and kept for every model that is tried once.
  static constexpr uint64_t kLeastBytes = 512'000'000;
  // Of all entries: a 70B model in four bits, and some smaller ones.
  static constexpr uint64_t kMostBytes = 64'000'000'000;

  std::string folder = {};  // made when something is kept; empty: nothing is kept or found
  uint64_t least_bytes = kLeastBytes;
  uint64_t most_bytes = kMostBytes;  // what was not used for longest goes first
};

class PackCache final : public PackedWeightStore {
 public:
  // Of one loading, which `stored` outlives: the checkpoint as it lies on disk. `encoding`: the type that
  // it is encoded in while it is read (convert/quantize_type.h), or nothing.
  PackCache(PackCacheSettings settings, const Checkpoint& stored, std::string encoding);

  std::shared_ptr<const PreparedWeights> find(const std::string& packing,
                                              const std::vector<PreparedPart>& parts) override;
  void refuse(const Error& why) override;
  // Not kept either: weights that would take more than half of what the disk has free.
  bool begin() override;
  bool append(const PreparedPart& part, std::span<const std::byte> bytes) override;
  // Not those of a model whose files changed since find().
  bool commit() override;
  Error not_kept() const override;

  // Whether the weights were those that an earlier loading had kept.
  bool hit() const { return hit_; }
  // What became of them, in lines for people.
  const std::vector<std::string>& notes() const { return notes_; }

 private:
  Result<std::string> key() const;
  uint64_t bytes() const;  // of the parts
  Result<std::shared_ptr<const PreparedWeights>> open() const;
  Result<void> begin_entry();
  void give_up(const Error& why);
  void decline(std::string why);

  PackCacheSettings settings_;
  CacheFolder folder_;
  const Checkpoint& stored_;
  std::string encoding_;
  // What find() was asked for.
  std::string packing_ = {};
  std::vector<PreparedPart> parts_ = {};
  std::string key_ = {};  // empty: of no interest
  std::optional<ArtifactWriter> writer_ = {};
  std::map<std::string, size_t> chunks_ = {};  // of the writer, by part
  std::string why_not_ = {};                   // what was last in the way
  bool kept_ = false;
  bool hit_ = false;
  std::vector<std::string> notes_ = {};
};

}  // namespace dunlin
