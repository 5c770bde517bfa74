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
constexpr int kRankBits = 22;
constexpr int kIdBits = 21;
constexpr uint64_t kRankMask = (uint64_t{1} << kRankBits) - 1;
constexpr uint64_t kEmpty = UINT64_MAX;  // of two highest ids and a rank that no merge has
static_assert(Vocabulary::kMaxIds <= int64_t{1} << kIdBits);
static_assert(MergeList::kMaxMerges < kRankMask);
// In a table that is half full the longest search of a million random keys takes about 40 steps.
constexpr size_t kMaxProbes = 1000;

uint64_t pair_key(int32_t left, int32_t right) noexcept {
  return static_cast<uint64_t>(left) << kIdBits | static_cast<uint64_t>(right);
}

size_t first_slot(uint64_t pair, int shift) noexcept {
  return pair * 0x9E3779B97F4A7C15u >> shift;  // Fibonacci hashing
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
  merged_ids_.assign(merges.size(), Vocabulary::kNone);
  slots_.assign(std::bit_ceil(merges.size() * 2 + 2), kEmpty);
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
    merged_ids_[rank] = merged;
    DUNLIN_RETURN_IF_ERROR(insert(left, right, static_cast<uint32_t>(rank)));
  }
  byte_pair_ranks_.assign(size_t{256} * 256, kNoMerge);
  for (size_t first = 0; first < 256; ++first) {
    for (size_t second = 0; second < 256; ++second) {
      if (byte_ids_[first] == Vocabulary::kNone || byte_ids_[second] == Vocabulary::kNone) continue;
      byte_pair_ranks_[first * 256 + second] = rank_of(byte_ids_[first], byte_ids_[second]);
    }
  }
  return {};
}

Result<void> BytePairMerger::insert(int32_t left, int32_t right, uint32_t rank) {
  const uint64_t pair = pair_key(left, right);
  size_t at = first_slot(pair, hash_shift_);
  for (size_t probes = 0; slots_[at] != kEmpty && slots_[at] >> kRankBits != pair; ++probes) {
    if (probes == kMaxProbes) return model_error("too many merges have the same hash");
    at = (at + 1) & (slots_.size() - 1);
  }
  slots_[at] = pair << kRankBits | rank;
  return {};
}

uint32_t BytePairMerger::rank_of(int32_t left, int32_t right) const noexcept {
  const uint64_t pair = pair_key(left, right);
  for (size_t at = first_slot(pair, hash_shift_);; at = (at + 1) & (slots_.size() - 1)) {
    const uint64_t slot = slots_[at];
    if (slot >> kRankBits == pair && slot != kEmpty) return static_cast<uint32_t>(slot & kRankMask);
    if (slot == kEmpty) return kNoMerge;
  }
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
  size_t previous = 0;
  for (const char c : piece) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte_ids_[byte] == Vocabulary::kNone) continue;
    if (count > 0) ranks[count - 1] = byte_pair_ranks_[previous * 256 + byte];
    ids[count++] = byte_ids_[byte];
    previous = byte;
  }
  while (count > 1) {
    size_t i = 0;
    for (size_t other = 1; other + 1 < count; ++other) {
      if (ranks[other] < ranks[i]) i = other;
    }
    if (ranks[i] == kNoMerge) break;
    ids[i] = merged_ids_[ranks[i]];
    --count;
    for (size_t j = i + 1; j < count; ++j) ids[j] = ids[j + 1];
    for (size_t j = i; j + 1 < count; ++j) ranks[j] = ranks[j + 1];
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
  symbol.id = merged_ids_[symbol.rank];
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
