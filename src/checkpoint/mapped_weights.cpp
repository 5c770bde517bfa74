#include "checkpoint/mapped_weights.h"

#include <utility>

#include "base/check.h"
#include "checkpoint/prepared_files.h"

namespace dunlin {

MappedWeights::MappedWeights(std::string name, std::string packing, std::string source)
    : name_(std::move(name)), packing_(std::move(packing)), source_(std::move(source)) {}

Result<void> MappedWeights::add(const ArtifactReader& reader) {
  DUNLIN_ASSIGN_OR_RETURN(MappedFile map, MappedFile::open(reader.name()));
  const ArtifactReader& kept = readers_.emplace_back(reader);
  for (const ArtifactChunk& chunk : kept.chunks()) {
    if (chunk.offset > map.bytes().size() || chunk.bytes > map.bytes().size() - chunk.offset)
      return model_error(reader.name() + ": the file became shorter while it was read");
    parts_[chunk.name] = {map.bytes().subspan(chunk.offset, chunk.bytes), &kept, &chunk};
  }
  maps_.push_back(std::move(map));
  return {};
}

const MappedWeights::Part* MappedWeights::find_part(const PreparedPart& part) const {
  const auto it = parts_.find(part.name);
  return it == parts_.end() || it->second.mapped.size() != part.bytes ? nullptr : &it->second;
}

const std::byte* MappedWeights::find(const PreparedPart& part) const {
  const Part* const found = find_part(part);
  return found == nullptr ? nullptr : found->mapped.data();
}

void MappedWeights::read_ahead() const {
  for (const MappedFile& map : maps_) map.read_ahead();
}

Result<void> MappedWeights::read(const PreparedPart& part, uint64_t piece,
                                 std::span<std::byte> into) const {
  const Part* const found = find_part(part);
  DUNLIN_CHECK(found != nullptr, "a part that is not there");
  return of_model(found->reader->read_piece(*found->chunk, piece, into));
}

}  // namespace dunlin
