// ShardContents: which part of each weight a file of a prepared directory for a mesh holds, as JSON in
// a chunk of that file, so that it can be read without knowing how the mesh splits a model.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "base/index_runs.h"
#include "base/result.h"

namespace dunlin {

inline constexpr const char* kContentsChunk = "contents";

// The chunk with the weight's name has rows.extent rows of columns.extent elements.
struct ShardPart {
  std::string weight;
  size_t rows = 0;     // of the weight: an index of ShardContents::runs
  size_t columns = 0;  // of the weight, in elements
};

struct ShardContents {
  std::string place = {};             // on the mesh, for people: "kv=1,group=0"
  std::vector<IndexRuns> runs = {};   // each once
  std::vector<ShardPart> parts = {};  // in the order of the chunks
};

std::string contents_text(const ShardContents& contents);

// Errors (kind model) begin with `origin`: a member that is missing or wrong, runs that leave their
// extent or do not ascend.
Result<ShardContents> parse_contents(const std::string& text, const std::string& origin);

}  // namespace dunlin
