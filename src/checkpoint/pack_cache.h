// PackCache: packed weights on disk, so that a model is packed when it is loaded for the first time and
// not each time. An entry is an artifact with a chunk for each part, in the order of use: what is in a
// prepared directory, in one file. Its key is made of the files that the model lies in, what they are
// encoded in while they are read, the packing, and names and sizes of all parts, which tell forms,
// layers and profile; instruction sets and threads play no part.
//
// An entry is written before it is mapped, or from a thread of its own while the model already answers:
// from the memory that the model computes with, of which nothing is copied (what it needs beside that is
// kWritingBytes), and with no more than kUnsynchronisedBytes that the system has in memory and not on the disk.
// Whoever destroys the cache waits until the entry is whole, or has it dropped. A process that is killed
// leaves a temporary file, which the next one that keeps something takes over or removes.
//
// Whatever is wrong with an entry is a note, and with the folder a warning, once; never an error: the
// weights are packed again. Only who has no memory to pack them into makes an error of not_kept().
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "artifact/cache_folder.h"
#include "artifact/writer.h"
#include "base/background_job.h"
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
  // Of packed weights, from which on what was measured of memory is kept beside them (api.h).
  uint64_t tuned_bytes = kLeastBytes;

  // Of an entry that is written while the model answers. Both are called by the thread that ends the
  // model, and throw nothing.
  //
  // Asked some 50 times a second while it is waited for; false: it is dropped. Empty: it becomes whole.
  std::function<bool()> still_waits = {};
  // What became of it, in a line for people.
  std::function<void(const std::string& note)> ended = {};
};

class PackCache final : public PackedWeightStore {
 public:
  // What keep_later() needs beside the weights while it writes: the stack and the heap of its thread, and the
  // books of some 300 parts (names, places and checksums, less than a kilobyte each). `dunlin plan` counts it.
  static constexpr int64_t kWritingBytes = 512 << 10;

  // Of one loading, which `stored` outlives: the checkpoint as it lies on disk. `encoding`: the type that
  // it is encoded in while it is read (convert/quantize_type.h), or nothing.
  PackCache(PackCacheSettings settings, const Checkpoint& stored, std::string encoding);
  ~PackCache() override { finish(); }
  PackCache(const PackCache&) = delete;
  PackCache& operator=(const PackCache&) = delete;

  std::shared_ptr<const PreparedWeights> find(const std::string& packing,
                                              const std::vector<PreparedPart>& parts) override;
  void refuse(const Error& why) override;
  // Not kept either: weights that would take more than half of what the disk has free.
  bool begin() override;
  bool append(const PreparedPart& part, std::span<const std::byte> bytes) override;
  // Not those of a model whose files changed since find().
  bool commit() override;
  // Neither here; of the checkpoint nothing is read any more once it returns.
  void keep_later(std::vector<PackedPart> parts, std::shared_ptr<const void> memory) override;
  Error not_kept() const override;

  // Waits until what keep_later() began is whole, dropped or given up.
  void finish();

  // Whether the weights were those that an earlier loading had kept.
  bool hit() const { return hit_; }
  // What became of them, in lines for people.
  const std::vector<std::string>& notes() const { return notes_; }

 private:
  // Bytes that may be written and not be on the disk yet: half a second of a slow one.
  static constexpr uint64_t kUnsynchronisedBytes = 64 << 20;

  Result<std::string> key() const;
  uint64_t bytes() const;  // of the parts
  Result<std::shared_ptr<const PreparedWeights>> open() const;
  bool has_room();
  Result<void> check_unchanged() const;
  Result<void> begin_entry();
  Result<bool> write_entry(const std::vector<PackedPart>& parts, const std::atomic<bool>& stop);
  void note_kept();
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
  // Writes the entry, with writer_, chunks_ and outcome_ to itself until it is over; null: nobody does.
  std::unique_ptr<BackgroundJob> job_ = {};
  Result<bool> outcome_ = false;  // of write_entry()
};

}  // namespace dunlin
