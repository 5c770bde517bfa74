// MergeList: the merges of a file in order of rank, as pairs of byte strings that are not yet
// looked up.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace dunlin {

class MergeList {
 public:
  struct Pair {
    std::string_view left;    // the bytes of both parts lie side by side:
    std::string_view merged;  // left + right
    std::string_view right() const { return merged.substr(left.size()); }
  };

  static constexpr size_t kMaxMerges = (size_t{1} << 22) - 2;  // GPT-OSS has 446189

  // Appends a merge written in the byte alphabet, as its two parts or as "left right". More than
  // kMaxMerges are an error before they are kept.
  Result<void> add(std::string_view left, std::string_view right);
  Result<void> add(std::string_view both);

  size_t size() const noexcept { return entries_.size(); }
  Pair operator[](size_t rank) const noexcept;

 private:
  struct Entry {
    uint32_t offset;
    uint32_t left_length;
    uint32_t length;
  };

  std::string arena_;
  std::vector<Entry> entries_;
};

}  // namespace dunlin
