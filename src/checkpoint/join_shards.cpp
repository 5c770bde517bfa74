#include "checkpoint/join_shards.h"

#include <fmt/format.h>

#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/checked.h"
#include "checkpoint/joined_weight.h"
#include "checkpoint/prepared_files.h"
#include "formats/row_form.h"
#include "formats/weight_box.h"

namespace dunlin {
namespace {

// A part, the file it is in, and its chunk there.
struct PartOfFile {
  const PreparedFiles::File* file;
  const ShardPart* part;
  const ArtifactChunk* chunk;
};
using PartsByWeight = std::unordered_map<std::string, std::vector<PartOfFile>>;

Result<PartsByWeight> parts_by_weight(const PreparedFiles& files) {
  PartsByWeight parts;
  for (const PreparedFiles::File& file : files.files()) {
    const std::vector<ShardPart>& listed = file.contents->parts;
    const std::vector<ArtifactChunk>& chunks = file.reader.chunks();
    // The first chunk is the list.
    for (size_t i = 0; i < listed.size(); ++i) {
      if (i + 1 >= chunks.size() || chunks[i + 1].name != listed[i].weight)
        return model_error(fmt::format("{}: has no part of {}", file.path, listed[i].weight));
      parts[listed[i].weight].push_back({&file, &listed[i], &chunks[i + 1]});
    }
  }
  return parts;
}

RowForm form_of(const TensorInfo& tensor) {
  return {&traits(tensor.format), tensor.shape.back(), tensor.scale_columns};
}

Result<JoinedPart> weight_part(const PartOfFile& found, const TensorInfo& tensor) {
  const PreparedFiles::File& file = *found.file;
  const ShardContents& contents = *file.contents;
  const auto wrong = [&] {
    return model_error(fmt::format("{}: its part of {} is wrong", file.path, tensor.name));
  };
  const IndexRuns& rows = contents.runs[found.part->rows];
  auto columns = column_bytes(form_of(tensor), contents.runs[found.part->columns]);
  if (!columns) return wrong();
  const auto bytes = checked_mul(rows.extent, columns->extent);
  if (!bytes || std::cmp_not_equal(*bytes, found.chunk->bytes)) return wrong();
  return JoinedPart{.source = file.source,
                    .offset = found.chunk->offset,
                    .rows = rows,
                    .columns = *std::move(columns)};
}

}  // namespace

Result<void> join_weights(CheckpointParts& parts) {
  DUNLIN_ASSIGN_OR_RETURN(const PartsByWeight by_weight, parts_by_weight(*parts.prepared_files));
  JoinBudget budget;
  for (const TensorInfo& tensor : parts.tensors) {
    if (traits(tensor.format).largest > 0.0f && tensor.scale_columns == 0) {
      return model_error(
          fmt::format("{}: scale_columns of {} is missing", tensor.file, tensor.name));
    }
    std::vector<JoinedPart> found;
    if (const auto it = by_weight.find(tensor.name); it != by_weight.end()) {
      for (const PartOfFile& each : it->second) {
        DUNLIN_ASSIGN_OR_RETURN(JoinedPart part, weight_part(each, tensor));
        found.push_back(std::move(part));
      }
    }
    int64_t rows = 1;
    for (size_t i = 0; i + 1 < tensor.shape.size(); ++i) rows *= tensor.shape[i];
    const WholeWeight whole{.name = tensor.name,
                            .file = tensor.file,
                            .rows = rows,
                            .row_bytes = form_of(tensor).bytes()};
    DUNLIN_ASSIGN_OR_RETURN(auto source, join_parts(whole, std::move(found), budget));
    parts.sources.push_back(std::move(source));
  }
  return {};
}

}  // namespace dunlin
