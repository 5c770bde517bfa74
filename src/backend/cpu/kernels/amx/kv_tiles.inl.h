// Keys and values of a split as weight tiles (docs/decisions/0002-numerics.md, "Attention"). Included
// inside the namespace and target region of an instruction set, after vector/attention.inl.h and
// amx/linear.inl.h; attention.inl.h follows.

constexpr int64_t kPairQueries = AttentionTileWorkspace::kPair;
constexpr int64_t kSplitBlocks = AttentionTileWorkspace::kBlocks;
static_assert(kTileBytes == AttentionTileWorkspace::kTile);
using PairView = SplitView<kPairQueries>;

// What the queries of a call see of one split.
struct SharedView {
  int64_t lowest = kSplitTokens;  // positions [lowest, highest) are visible to some
  int64_t highest = 0;
  int64_t all_low = 0;  // [all_low, all_high) to all
  int64_t all_high = kSplitTokens;
  const std::byte* pages[kSplitTokens / kPageTokens] = {};

  DUNLIN_INLINE void add(const PairView& view, int64_t count) {
    if (view.lowest < lowest) lowest = view.lowest;
    if (view.highest > highest) highest = view.highest;
    for (int64_t r = 0; r < count; ++r) {
      if (view.low[r] > all_low) all_low = view.low[r];
      if (view.high[r] < all_high) all_high = view.high[r];
    }
    for (int64_t page = 0; page < kSplitTokens / kPageTokens; ++page) {
      if (view.pages[page] != nullptr) pages[page] = view.pages[page];
    }
  }
  DUNLIN_INLINE bool some_see(int64_t u) const { return u >= lowest && u < highest; }
  DUNLIN_INLINE bool all_see(int64_t u) const { return u >= all_low && u < all_high; }
};

DUNLIN_INLINE bool all_finite(Ints pairs) {
  const Floats infinity = broadcast(__builtin_inff());
  const Mask even = less(abs(as_floats(shift_left<16>(pairs))), infinity);
  const Mask odd = less(abs(as_floats(bit_and(pairs, broadcast_int(-65536)))), infinity);
  return (bits(even) & bits(odd)) == 0xffffu;
}

// Lines of positions (u, u + 1), u even, of one page as they are where all queries see both, else
// zero for what none sees. False: a value that some query must not see is not finite, so that its
// product with a weight of zero is not zero.
inline bool copy_value_lines(const AttentionArgs& args, const std::byte* page,
                             const SharedView& view, int64_t first, std::byte* tiles) {
  const int64_t dim_blocks = kv_value_dims(args.head_dim) / 16;
  for (int64_t j = 0; j < kPageTokens / 2; ++j) {
    const int64_t u = first + 2 * j;
    const uint32_t low = page != nullptr && view.some_see(u) ? 0x0000ffffu : 0;
    const uint32_t high = page != nullptr && view.some_see(u + 1) ? 0xffff0000u : 0;
    const bool check = !view.all_see(u) || !view.all_see(u + 1);
    const Ints seen = broadcast_int(static_cast<int32_t>(low | high));
    for (int64_t d = 0; d < dim_blocks; ++d) {
      Ints pairs = broadcast_int(0);
      if ((low | high) != 0) {
        pairs = bit_and(load_ints(value_lines<KvType::bf16>(args, page, d) + 64 * j), seen);
        if (check && !all_finite(pairs)) return false;
      }
      store(reinterpret_cast<float*>(tiles + d * kSplitBlocks * kTileBytes + 64 * j),
            as_floats(pairs));
    }
  }
  return true;
}

// Lines 2j and 2j + 1 of codes as a line of pairs in bf16, which holds their whole numbers.
DUNLIN_INLINE void widen_codes(const std::byte* lines, int j, std::byte* to) {
  Floats even;
  Floats odd;
  load_lines<KvType::int8>(lines, j, &even, &odd);
  store(reinterpret_cast<float*>(to + 64 * j), as_floats(pack_pairs(even, odd)));
}

// The values of one page that are codes, zero where there is no page. All of them are finite: what
// some query must not see has a weight of zero for it, and so a product of zero.
inline void widen_values(const AttentionArgs& args, const std::byte* page, std::byte* tiles) {
  for (int64_t d = 0; d < kv_value_dims(args.head_dim) / 16; ++d) {
    std::byte* to = tiles + d * kSplitBlocks * kTileBytes;
    for (int j = 0; j < kPageTokens / 2; ++j) {
      if (page != nullptr) {
        widen_codes(value_lines<KvType::int8>(args, page, d), j, to);
      } else {
        store(reinterpret_cast<float*>(to + 64 * j), zero());
      }
    }
  }
}

// Values of a split: [dims / 16][kSplitBlocks] weight tiles. False: they cannot be.
template <KvType T>
inline bool value_tiles(const AttentionArgs& args, const SharedView& view, std::byte* tiles) {
  for (int64_t base = view.lowest / 32 * 32; base < view.highest; base += 32) {
    std::byte* block = tiles + base / 32 * kTileBytes;
    for (int64_t half = 0; half < 2; ++half) {
      const int64_t first = base + kPageTokens * half;
      const std::byte* page = view.pages[first / kPageTokens];
      if constexpr (T == KvType::int8) {
        widen_values(args, page, block + 512 * half);
      } else if (!copy_value_lines(args, page, view, first, block + 512 * half)) {
        return false;
      }
    }
  }
  return true;
}

// Keys of each page of a split as weight tiles, one per 32 dimensions: codes widened into `tiles`, bf16
// where it lies.
template <KvType T>
inline void key_tiles(const AttentionArgs& args, const SharedView& view, std::byte* tiles,
                      const std::byte* (&keys)[kSplitTokens / kPageTokens]) {
  for (int64_t page = 0; page < kSplitTokens / kPageTokens; ++page) {
    keys[page] = view.pages[page];
    if constexpr (T == KvType::int8) {
      if (view.pages[page] == nullptr) continue;
      std::byte* to = tiles + page * AttentionTileWorkspace::key_page_bytes(args.head_dim);
      for (int64_t block = 0; block < kv_key_dims(args.head_dim) / 32; ++block) {
        const std::byte* lines = view.pages[page] + block * 32 * kPageTokens;
        for (int j = 0; j < 16; ++j) widen_codes(lines, j, to + block * kTileBytes);
      }
      keys[page] = to;
    }
  }
}
