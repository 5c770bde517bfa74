// Attention of many queries on AMX tiles (docs/decisions/0002-numerics.md, "Attention"): scores and
// weighted values are chain sums, which TDPBF16PS computes 16 queries x 16 positions or dimensions
// at a time; the softmax between them is that of vector/attention.inl.h. Included inside the
// namespace and target region of an instruction set, after kv_tiles.inl.h; `Tiles` is amx/tiles.h or
// an emulation.
//
// For at most kTileQueries queries: split by split, the values become weight tiles once, and so do keys
// that are codes, then two row tiles of queries at a time are scored, weighed and merged.

// Queries [query, query + count) rounded to bf16 as row tiles, [query / 16][dims / 32]; rows that
// fill the last pair are zero.
inline void query_tiles(const AttentionArgs& args, int64_t query, int64_t count, std::byte* tiles) {
  const int64_t blocks = kv_key_dims(args.head_dim) / 32;
  const int64_t rows = (count + kPairQueries - 1) / kPairQueries * kPairQueries;
  for (int64_t i = 0; i < rows; ++i) {
    const int64_t row = i < count ? (query + i) / args.group : 0;
    const int64_t head = i < count ? (query + i) % args.group : 0;
    const float* from = args.q + row * args.q_stride + head * args.head_dim;
    std::byte* lines = tiles + i / 16 * blocks * kTileBytes + i % 16 * 64;
    for (int64_t block = 0; block < blocks; ++block) {
      const int64_t left = i < count ? args.head_dim - 32 * block : 0;
      store_tile_row(from + 32 * block, left, lines + block * kTileBytes);
    }
  }
}

// ---- two row tiles of queries over one split ----

// Chain sums of R row tiles against the keys of the pages that they see: sums[16 R][256].
template <typename Tiles, int R>
inline void score_tiles(const AttentionArgs& args, const PairView& view,
                        const std::byte* const (&keys)[kSplitTokens / kPageTokens],
                        const std::byte* q, float* sums) {
  const int64_t blocks = kv_key_dims(args.head_dim) / 32;
  const std::byte* const rows[2] = {q, q + blocks * kTileBytes};
  for (int64_t page = view.lowest / 32 * 2; page * kPageTokens < view.highest; page += 2) {
    const std::byte* first = view.pages[page] != nullptr ? keys[page] : nullptr;
    const std::byte* next = view.pages[page + 1] != nullptr ? keys[page + 1] : nullptr;
    if (first == nullptr && next == nullptr) continue;
    // Sums over the other page in place of one that is not there are never read.
    const std::byte* const weights[2] = {first != nullptr ? first : next,
                                         next != nullptr ? next : first};
    zero_sums<Tiles, R, 2>();
    add_products<Tiles, R, 2>(rows, weights, blocks);
    store_sums<Tiles, R, 2>(reinterpret_cast<std::byte*>(sums + page * kPageTokens),
                            16 * kSplitTokens * 4, kPageTokens * 4, kSplitTokens * 4);
  }
}

// Sums of one query to scores, then to what its values are weighed with in a row of the weights'
// tiles; m and l.
template <KvType T>
inline void softmax_row(const AttentionArgs& args, const PairView& view, int64_t r, float* scores,
                        std::byte* weights, float* m, float* l) {
  const auto sees = [&](int64_t page) DUNLIN_ALWAYS_INLINE {
    return view.pages[page] != nullptr && page * kPageTokens < view.high[r] &&
           (page + 1) * kPageTokens > view.low[r];
  };
  const auto visible = [&](int64_t page) DUNLIN_ALWAYS_INLINE {
    return lanes_between(view.low[r] - page * kPageTokens, view.high[r] - page * kPageTokens);
  };
  const int64_t first_page = view.lowest / 32 * 2;
  const int64_t end_page = (view.highest + 31) / 32 * 2;
  const Floats lowest = broadcast(-__builtin_inff());
  Floats most = lowest;
  for (int64_t page = first_page; page < end_page; ++page) {
    if (!sees(page)) continue;
    const Floats score = page_scores<T>(args, view.pages[page], load(scores + page * kPageTokens));
    store(scores + page * kPageTokens, score);
    most = max(most, select(visible(page), score, lowest));
  }
  *m = fold_max(most);
  const Floats top = broadcast(*m);
  Floats sum = zero();
  for (int64_t page = first_page; page < end_page; page += 2) {
    float p[32];
    for (int64_t half = 0; half < 2; ++half) {
      Floats weight = zero();
      if (sees(page + half)) {
        const Floats score = load(scores + (page + half) * kPageTokens);
        const Mask seen = visible(page + half);
        const Floats value = select(seen, exp(sub(score, top)), zero());
        sum = add(sum, value);
        weight = value_weights<T>(args, view.pages[page + half], seen, value);
      }
      store(p + 16 * half, weight);
    }
    Floats even;
    Floats odd;
    load_pairs(p, &even, &odd);
    store(reinterpret_cast<float*>(weights + page / 2 * kTileBytes),
          as_floats(pack_pairs(even, odd)));
  }
  *l = fold_sum(sum);
}

// Factors of the merge for `count` queries: o = o_s * b + o * a. Nothing changes where l_s = 0.
inline void merge_factors(const float* split_m, const float* split_l, float* m, float* l, float* a,
                          float* b) {
  for (int64_t i = 0; i < kPairQueries; i += 16) {
    const Floats old = load(m + i);
    const Floats m_s = load(split_m + i);
    const Floats l_s = load(split_l + i);
    const Mask nothing = equal(l_s, zero());
    const Floats most = select(less(m_s, old), old, m_s);
    const Floats keep = select(nothing, broadcast(1.0f), exp(sub(old, most)));
    // o_s is zero there, and o + -0 keeps the sign of a zero.
    const Floats take = select(nothing, broadcast(-0.0f), exp(sub(m_s, most)));
    store(a + i, keep);
    store(b + i, take);
    store(m + i, select(nothing, old, most));
    store(l + i, select(nothing, load(l + i), fma(l_s, take, mul(load(l + i), keep))));
  }
}

// o[count][dims] of R row tiles, S blocks of 16 dimensions from `dim_block` on.
template <typename Tiles, int R, int S>
inline void merge_values(const AttentionTileWorkspace& memory, const PairView& view, int64_t count,
                         int64_t dims, int64_t dim_block, float* o) {
  const int64_t first = view.lowest / 32;
  const int64_t blocks = (view.highest + 31) / 32 - first;
  const std::byte* p = memory.probabilities + first * kTileBytes;
  const std::byte* v = memory.values + (dim_block * kSplitBlocks + first) * kTileBytes;
  const std::byte* const rows[2] = {p, p + kSplitBlocks * kTileBytes};
  const std::byte* const values[2] = {v, v + kSplitBlocks * kTileBytes};
  zero_sums<Tiles, R, S>();
  add_products<Tiles, R, S>(rows, values, blocks);
  store_sums<Tiles, R, S>(memory.products, S * kTileBytes, kTileBytes, 64);
  for (int64_t r = 0; r < count; ++r) {
    const Floats a = broadcast(memory.keep[r]);
    const Floats b = broadcast(memory.take[r]);
    for (int64_t s = 0; s < S; ++s) {
      const std::byte* line = memory.products + (r / 16 * S + s) * kTileBytes + r % 16 * 64;
      float* to = o + r * dims + 16 * (dim_block + s);
      store(to, fma(load(reinterpret_cast<const float*>(line)), b, mul(load(to), a)));
    }
  }
}

// `count` queries of R row tiles over one split, into their states.
template <typename Tiles, KvType T, int R>
inline void split_pair(const AttentionArgs& args, const AttentionTileWorkspace& memory,
                       const std::byte* const (&keys)[kSplitTokens / kPageTokens],
                       const PairView& view, int64_t pair, int64_t count) {
  const int64_t key_blocks = kv_key_dims(args.head_dim) / 32;
  const int64_t dims = kv_value_dims(args.head_dim);
  const int64_t first_query = pair * kPairQueries;
  score_tiles<Tiles, R>(args, view, keys, memory.q + pair * 2 * key_blocks * kTileBytes,
                        memory.scores);
  for (int64_t r = 0; r < kPairQueries; ++r) {
    memory.split_m[r] = memory.split_l[r] = 0.0f;
    if (r >= 16 * R) continue;
    std::byte* line = memory.probabilities + r / 16 * kSplitBlocks * kTileBytes + r % 16 * 64;
    softmax_row<T>(args, view, r, memory.scores + r * kSplitTokens, line, memory.split_m + r,
                   memory.split_l + r);
  }
  merge_factors(memory.split_m, memory.split_l, memory.m + first_query, memory.l + first_query,
                memory.keep, memory.take);
  float* o = memory.o + first_query * dims;
  int64_t d = 0;
  for (; dims / 16 - d >= 2; d += 2) merge_values<Tiles, R, 2>(memory, view, count, dims, d, o);
  if (d < dims / 16) merge_values<Tiles, R, 1>(memory, view, count, dims, d, o);
}

// The same without tiles: each query walks its own visible positions.
template <KvType T>
inline void split_plainly(const AttentionArgs& args, const AttentionTileWorkspace& memory,
                          int64_t split, int64_t query, int64_t first, int64_t count) {
  const AttentionWorkspace plain(memory.plain, args.head_dim);
  const int64_t dims = kv_value_dims(args.head_dim);
  const int64_t stride = attention_partial_floats(args.head_dim);
  for (int64_t at = first; at < first + count; at += kAttentionBlock) {
    const int64_t left = first + count - at;
    const int64_t block = left < kAttentionBlock ? left : kAttentionBlock;
    round_queries<T>(args, query + at, block, plain.q);
    split_block<T, kAttentionRows>(args, split, query + at, block, plain.q, plain.scores,
                                   plain.partials, stride);
    for (int64_t i = 0; i < block; ++i) {
      float state[2] = {memory.m[at + i], memory.l[at + i]};
      merge_partial(plain.partials + i * stride, dims, state, memory.o + (at + i) * dims);
      memory.m[at + i] = state[0];
      memory.l[at + i] = state[1];
    }
  }
}

template <typename Tiles, KvType T>
inline void split_tiles(const AttentionArgs& args, const AttentionTileWorkspace& memory,
                        int64_t split, int64_t query, int64_t count) {
  const int64_t pairs = (count + kPairQueries - 1) / kPairQueries;
  PairView views[kTileQueries / kPairQueries];
  SharedView shared;
  for (int64_t pair = 0; pair < pairs; ++pair) {
    const int64_t left = count - pair * kPairQueries;
    const int64_t queries = left < kPairQueries ? left : kPairQueries;
    view_split<kPairQueries>(args, split, query + pair * kPairQueries, queries, &views[pair]);
    shared.add(views[pair], queries);
  }
  const bool tiles = value_tiles<T>(args, shared, memory.values);
  const std::byte* keys[kSplitTokens / kPageTokens];
  key_tiles<T>(args, shared, memory.keys, keys);
  for (int64_t pair = 0; pair < pairs; ++pair) {
    const int64_t first = pair * kPairQueries;
    const int64_t left = count - first;
    if (views[pair].lowest >= views[pair].highest) continue;
    if (!tiles) {
      split_plainly<T>(args, memory, split, query, first,
                       left < kPairQueries ? left : kPairQueries);
    } else if (left > 16) {
      split_pair<Tiles, T, 2>(args, memory, keys, views[pair], pair,
                              left < kPairQueries ? left : kPairQueries);
    } else {
      split_pair<Tiles, T, 1>(args, memory, keys, views[pair], pair, left);
    }
  }
}

// Queries [query, query + count), count <= kTileQueries.
template <typename Tiles, KvType T>
inline void attend_tiles(const AttentionArgs& args, int64_t query, int64_t count, float* y,
                         int64_t y_stride) {
  const AttentionTileWorkspace memory(args.workspace, args.head_dim);
  const int64_t dims = kv_value_dims(args.head_dim);
  query_tiles(args, query, count, memory.q);
  // Those that fill the last pair are merged as well, from m = -inf and l = 0.
  for (int64_t i = 0; i < kTileQueries; ++i) {
    const float* sink =
        args.sinks != nullptr && i < count ? args.sinks + (query + i) % args.group : nullptr;
    float state[2];
    begin_merge(sink, i < count ? dims : 0, state, memory.o + i * dims);
    memory.m[i] = state[0];
    memory.l[i] = state[1];
  }
  const int64_t last = query + count - 1;
  const SplitRange splits = splits_of_rows(args, query / args.group, last / args.group + 1);
  for (int64_t split = splits.first; split < splits.end; ++split) {
    split_tiles<Tiles, T>(args, memory, split, query, count);
  }
  for (int64_t i = 0; i < count; ++i) {
    const float state[2] = {memory.m[i], memory.l[i]};
    const int64_t row = (query + i) / args.group;
    const int64_t head = (query + i) % args.group;
    end_merge(state, memory.o + i * dims, args.head_dim, y + row * y_stride + head * args.head_dim);
  }
}

template <typename Tiles, KvType T>
inline void attention_tiles(const AttentionArgs& args, float* y, int64_t y_stride) noexcept {
  Tiles::configure_full();
  const int64_t queries = args.rows * args.group;
  for (int64_t query = 0; query < queries; query += kTileQueries) {
    const int64_t left = queries - query;
    attend_tiles<Tiles, T>(args, query, left < kTileQueries ? left : kTileQueries, y, y_stride);
  }
  Tiles::release();
}
