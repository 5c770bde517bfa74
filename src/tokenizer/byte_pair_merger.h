// BytePairMerger: byte pair encoding of one piece of text. Beginning with single bytes, the
// adjacent pair whose merge has the lowest rank is replaced, the leftmost first, until no pair has
// a merge (Sennrich et al. 2016, algorithm 1; ranks as in GPT-2). Short pieces scan for the
// minimum; long ones keep a heap, O(n log n).
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "tokenizer/merge_list.h"
#include "tokenizer/vocabulary.h"

namespace dunlin {

class BytePairMerger {
 public:
  // Working memory of the heap method, kept by the caller from piece to piece: about 32 bytes per
  // byte of the longest.
  struct Workspace {
    struct Symbol {
      int32_t id;
      uint32_t rank;      // of the merge with the next symbol, kNoMerge when there is none
      uint32_t previous;  // index, or kEnd
      uint32_t next;      // index, or kEnd; a symbol that was merged away has id Vocabulary::kNone
    };
    std::vector<Symbol> symbols;
    std::vector<uint64_t> heap;  // rank << 32 | index of the left symbol, smallest first
  };

  // A merge whose parts or result are no tokens is an error that names its number. Merges that make a
  // token of `never_made` (by id) are left out. When a pair is listed twice the later rank counts, as
  // in `tokenizers`.
  Result<void> build(const Vocabulary& vocabulary, const MergeList& merges,
                     const std::vector<bool>& never_made);

  bool has_all_bytes() const noexcept;  // whether every byte has a token

  // Appends the tokens of `piece` (below 2^32 bytes). A byte that has no token yields nothing.
  void encode(std::string_view piece, Workspace& workspace, std::vector<int32_t>& out) const;

 private:
  static constexpr uint32_t kNoMerge = UINT32_MAX;

  Result<void> insert(int32_t left, int32_t right, uint32_t rank);
  uint32_t rank_of(int32_t left, int32_t right) const noexcept;  // kNoMerge when there is none
  void encode_short(std::string_view piece, std::vector<int32_t>& out) const;
  void encode_long(std::string_view piece, Workspace& workspace, std::vector<int32_t>& out) const;
  void merge_with_next(uint32_t left, Workspace& workspace) const;

  std::array<int32_t, 256> byte_ids_;
  std::vector<uint32_t> byte_pair_ranks_;  // by first byte * 256 + second byte
  std::vector<int32_t> merged_ids_;        // by rank
  // Open addressing, a power of two, at most half full: left id << 43 | right id << 22 | rank. Eight
  // bytes a slot, so that most of a large table stays in the second cache level.
  std::vector<uint64_t> slots_;
  int hash_shift_ = 0;
};

}  // namespace dunlin
