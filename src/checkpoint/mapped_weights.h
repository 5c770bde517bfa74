// MappedWeights: artifacts with a chunk for each part of packed weights, mapped.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "artifact/reader.h"
#include "base/mapped_file.h"
#include "base/result.h"
#include "formats/prepared_weights.h"

namespace dunlin {

class MappedWeights final : public PreparedWeights {
 public:
  // What name(), packing() and source() are.
  MappedWeights(std::string name, std::string packing, std::string source);

  // Maps the file that the reader reads. Errors (kind model) name it.
  Result<void> add(const ArtifactReader& reader);

  const std::string& name() const override { return name_; }
  const std::string& packing() const override { return packing_; }
  const std::string& source() const override { return source_; }
  const std::byte* find(const PreparedPart& part) const override;
  void read_ahead() const override;
  uint64_t piece_bytes() const override { return kArtifactPieceBytes; }
  Result<void> read(const PreparedPart& part, uint64_t piece,
                    std::span<std::byte> into) const override;

 private:
  struct Part {
    std::span<const std::byte> mapped;
    const ArtifactReader* reader;
    const ArtifactChunk* chunk;  // of the reader
  };

  const Part* find_part(const PreparedPart& part) const;

  std::string name_, packing_, source_;
  std::deque<ArtifactReader> readers_ = {};
  std::vector<MappedFile> maps_ = {};
  std::unordered_map<std::string, Part> parts_ = {};
};

}  // namespace dunlin
