// PreparedWeights: the weights of a checkpoint as a back end laid them out ahead of time, so that
// loading computes nothing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"

namespace dunlin {

// A piece of memory that a back end computes with: a weight in one form. The name tells weight, form
// and sizes, so that a part of that name is the right one, and no other.
struct PreparedPart {
  std::string name = {};
  uint64_t bytes = 0;
};

// A part that lies whole in memory.
struct PackedPart {
  PreparedPart part = {};
  const std::byte* data = nullptr;
};

class PreparedWeights {
 public:
  virtual ~PreparedWeights() = default;

  virtual const std::string& name() const = 0;     // of the directory, for messages
  virtual const std::string& packing() const = 0;  // what laid them out (Backend::packing)
  // Path of the checkpoint when they were made, printable.
  virtual const std::string& source() const = 0;

  // Mapped bytes, 64-byte aligned, for as long as this object lives; null when there is no such
  // part. Not compared with their checksums.
  virtual const std::byte* find(const PreparedPart& part) const = 0;

  // Begins to read all mapped bytes, for who wants all of them in memory. Advice: it may do nothing.
  virtual void read_ahead() const {}

  // Bytes that read() gives at a time; the last piece of a part has the rest, rounded up to 64.
  virtual uint64_t piece_bytes() const = 0;
  // Reads a piece of a part that find() knows into `into`, of just its size, and compares it with its
  // checksum. Safe from any thread. An error (kind model) names the file.
  virtual Result<void> read(const PreparedPart& part, uint64_t piece,
                            std::span<std::byte> into) const = 0;

  // An error (kind model) of weights that do not suit, with the command that makes others; `flags`
  // are more of it.
  Error unsuitable(const std::string& problem, const std::string& flags = {}) const;
};

// Parts on their way to a file. Each is computed when it is asked for.
class WeightPacker {
 public:
  virtual ~WeightPacker() = default;
  virtual const std::vector<PreparedPart>& parts() const = 0;

  // Gives the bytes of parts()[part], and of its companion() if it has one, each in order, in bounded
  // pieces; an error of `take` ends it. Errors name a tensor that cannot be read.
  using Take = std::function<Result<void>(size_t part, std::span<const std::byte> bytes)>;
  virtual Result<void> pack(size_t part, const Take& take) = 0;
  // The part that is made with this one, from weights that are stored together; each has the other.
  virtual std::optional<size_t> companion(size_t part) const;
};

// Where a back end finds what it packed when a model was loaded before, and leaves what it packs. Nothing
// of it is an error of the loading where memory holds the weights: what is not there, or is damaged, is
// packed again.
class PackedWeightStore {
 public:
  virtual ~PackedWeightStore() = default;

  // The weights of just these parts, in the order of use, that were kept under the packing; null: none.
  virtual std::shared_ptr<const PreparedWeights> find(const std::string& packing,
                                                      const std::vector<PreparedPart>& parts) = 0;
  // What was found is damaged, and why.
  virtual void refuse(const Error& why) = 0;

  // Begins to keep the parts that find() was last asked for. append() gives the bytes of each in order,
  // in any number of calls, between which those of others may come. commit(), once all have theirs, makes
  // them those that are found. False, of any of them: they are not kept.
  virtual bool begin() = 0;
  virtual bool append(const PreparedPart& part, std::span<const std::byte> bytes) = 0;
  virtual bool commit() = 0;
  // Keeps the parts that find() was last asked for from another thread, while the caller computes with
  // them, and returns at once. They lie whole, in the order of use, in memory that `memory` holds and that
  // nobody writes to any more; the store lets go of it at its own end at the latest. In the place of
  // begin(), append() and commit(), for who does not map what is kept.
  virtual void keep_later(std::vector<PackedPart> parts, std::shared_ptr<const void> memory) = 0;
  // For who can only use what is kept: why it is not, and a command that packs the weights ahead (kind
  // usage).
  virtual Error not_kept() const = 0;
};

}  // namespace dunlin
