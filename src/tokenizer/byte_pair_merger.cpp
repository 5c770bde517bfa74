#include "tokenizer/byte_pair_merger.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <functional>

namespace dunlin {
namespace {

constexpr uint32_t kEnd = UINT32_MAX;
// Pieces up to this many bytes take the scan, which needs no heap and no memory; words are far
// shorter.
constexpr size_t kScanLimit = 96;

uint64_t pair_key(int32_t left, int32_t right) noexcept {
  return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
}

uint64_t heap_key(uint32_t rank, size_t index) noexcept {
  return uint64_t{rank} << 32 | index;
}

}  // namespace

Result<void> BytePairMerger::build(const Vocabulary& vocabulary, const MergeList& merges,
                                   const std::vector<bool>& never_made) {
  for (int byte = 0; byte < 256; ++byte) {
    const auto character = static_cast<char>(static_cast<unsigned char>(byte));
    byte_ids_[static_cast<size_t>(byte)] = vocabulary.find({&character, 1});
  }
  if (merges.size() >= kNoMerge) return model_error("more than 2^32 - 2 merges");
  slots_.assign(std::bit_ceil(merges.size() * 2 + 2), Merge{0, kNoMerge, Vocabulary::kNone});
  hash_shift_ = 64 - std::countr_zero(slots_.size());
  for (size_t rank = 0; rank < merges.size(); ++rank) {
    const MergeList::Pair pair = merges[rank];
    const int32_t left = vocabulary.find(pair.left);
    const int32_t right = vocabulary.find(pair.right());
    const int32_t merged = vocabulary.find(pair.merged);
    if (left == Vocabulary::kNone || right == Vocabulary::kNone || merged == Vocabulary::kNone) {
      return model_error(
          fmt::format("merge {} joins or makes a token that is not in the vocabulary", rank));
    }
    if (never_made[static_cast<size_t>(merged)]) continue;
    insert(left, right, static_cast<uint32_t>(rank), merged);
  }
  return {};
}

void BytePairMerger::insert(int32_t left, int32_t right, uint32_t rank, int32_t id) {
  const uint64_t pair = pair_key(left, right);
  size_t at = pair * 0x9E3779B97F4A7C15u >> hash_shift_;  // Fibonacci hashing
  while (slots_[at].rank != kNoMerge && slots_[at].pair != pair)
    at = (at + 1) & (slots_.size() - 1);
  slots_[at] = {pair, rank, id};
}

const BytePairMerger::Merge* BytePairMerger::find(int32_t left, int32_t right) const noexcept {
  const uint64_t pair = pair_key(left, right);
  for (size_t at = pair * 0x9E3779B97F4A7C15u >> hash_shift_;;
       at = (at + 1) & (slots_.size() - 1)) {
    const Merge& merge = slots_[at];
    if (merge.pair == pair && merge.rank != kNoMerge) return &merge;
    if (merge.rank == kNoMerge) return nullptr;
  }
}

uint32_t BytePairMerger::rank_of(int32_t left, int32_t right) const noexcept {
  const Merge* merge = find(left, right);
  return merge == nullptr ? kNoMerge : merge->rank;
}

bool BytePairMerger::has_all_bytes() const noexcept {
  return std::find(byte_ids_.begin(), byte_ids_.end(), Vocabulary::kNone) == byte_ids_.end();
}

void BytePairMerger::encode(std::string_view piece, Workspace& workspace,
                            std::vector<int32_t>& out) const {
  if (piece.size() <= kScanLimit) {
    encode_short(piece, out);
  } else {
    encode_long(piece, workspace, out);
  }
}

void BytePairMerger::encode_short(std::string_view piece, std::vector<int32_t>& out) const {
  std::array<int32_t, kScanLimit> ids;
  std::array<uint32_t, kScanLimit> ranks;  // ranks[i]: of the merge of ids[i] and ids[i + 1]
  size_t count = 0;
  for (const char byte : piece) {
    const int32_t id = byte_ids_[static_cast<unsigned char>(byte)];
    if (id != Vocabulary::kNone) ids[count++] = id;
  }
  for (size_t i = 0; i + 1 < count; ++i) ranks[i] = rank_of(ids[i], ids[i + 1]);
  while (count > 1) {
    const auto lowest =
        std::min_element(ranks.begin(), ranks.begin() + static_cast<std::ptrdiff_t>(count - 1));
    if (*lowest == kNoMerge) break;
    const auto i = static_cast<size_t>(lowest - ranks.begin());
    ids[i] = find(ids[i], ids[i + 1])->id;
    --count;
    std::copy(ids.begin() + static_cast<std::ptrdiff_t>(i) + 2,
              ids.begin() + static_cast<std::ptrdiff_t>(count) + 1,
              ids.begin() + static_cast<std::ptrdiff_t>(i) + 1);
    std::copy(ranks.begin() + static_cast<std::ptrdiff_t>(i) + 1,
              ranks.begin() + static_cast<std::ptrdiff_t>(count),
              ranks.begin() + static_cast<std::ptrdiff_t>(i));
    if (i > 0) ranks[i - 1] = rank_of(ids[i - 1], ids[i]);
    if (i + 1 < count) ranks[i] = rank_of(ids[i], ids[i + 1]);
  }
  out.insert(out.end(), ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(count));
}

void BytePairMerger::encode_long(std::string_view piece, Workspace& workspace,
                                 std::vector<int32_t>& out) const {
  auto& [symbols, heap] = workspace;
  symbols.clear();
  heap.clear();
  for (const char byte : piece) {
    const int32_t id = byte_ids_[static_cast<unsigned char>(byte)];
    if (id == Vocabulary::kNone) continue;
    const auto index = static_cast<uint32_t>(symbols.size());
    symbols.push_back({id, kNoMerge, index == 0 ? kEnd : index - 1, index + 1});
  }
  if (symbols.empty()) return;
  symbols.back().next = kEnd;
  for (size_t i = 0; i + 1 < symbols.size(); ++i) {
    symbols[i].rank = rank_of(symbols[i].id, symbols[i + 1].id);
    if (symbols[i].rank != kNoMerge) heap.push_back(heap_key(symbols[i].rank, i));
  }
  std::make_heap(heap.begin(), heap.end(), std::greater<>());
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end(), std::greater<>());
    const uint64_t top = heap.back();
    heap.pop_back();
    const auto left = static_cast<uint32_t>(top);
    // An entry whose pair has changed since is stale; the change pushed a new one.
    const bool current = symbols[left].id != Vocabulary::kNone && symbols[left].rank == top >> 32;
    if (current) merge_with_next(left, workspace);
  }
  for (uint32_t i = 0; i != kEnd; i = symbols[i].next) out.push_back(symbols[i].id);
}

void BytePairMerger::merge_with_next(uint32_t left, Workspace& workspace) const {
  auto& [symbols, heap] = workspace;
  Workspace::Symbol& symbol = symbols[left];
  Workspace::Symbol& right = symbols[symbol.next];
  symbol.id = find(symbol.id, right.id)->id;
  symbol.next = right.next;
  right.id = Vocabulary::kNone;
  const auto update = [&, this](uint32_t index) {
    Workspace::Symbol& changed = symbols[index];
    changed.rank = changed.next == kEnd ? kNoMerge : rank_of(changed.id, symbols[changed.next].id);
    if (changed.rank == kNoMerge) return;
    heap.push_back(heap_key(changed.rank, index));
    std::push_heap(heap.begin(), heap.end(), std::greater<>());
  };
  if (symbol.next != kEnd) symbols[symbol.next].previous = left;
  update(left);
  if (symbol.previous != kEnd) update(symbol.previous);
}

}  // namespace dunlin
