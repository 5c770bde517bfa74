// Attention over KV pages, sixteen positions or dimensions per vector
// (docs/decisions/0002-numerics.md, "Attention"). Included inside the namespace and target region
// of an instruction set, after kv_lines.inl.h.
//
// R queries of one kv head share every pass over a page. A block of 32 positions that all of them
// see takes the plain path; at the edges (causal, window, length, missing pages) each query walks
// its own visible positions, so that what a query must not see never enters its sums, not even
// multiplied by zero.

// What R queries see of one split: positions relative to the split, and its pages.
template <int R>
struct SplitView {
  int64_t low[R];  // visible positions [low, high)
  int64_t high[R];
  int64_t lowest;  // of all queries
  int64_t highest;
  const std::byte* pages[kSplitTokens / kPageTokens];  // null: not there
};

// Queries [query, query + count), count <= R: the others see nothing.
template <int R>
inline void view_split(const AttentionArgs& args, int64_t split, int64_t query, int64_t count,
                       SplitView<R>* view) {
  const int64_t base = split * kSplitTokens;
  view->lowest = kSplitTokens;
  view->highest = 0;
  for (int r = 0; r < R; ++r) {
    view->low[r] = view->high[r] = 0;
    if (r >= count) continue;
    const VisibleRange range = visible_range(args, (query + r) / args.group);
    const int64_t low = range.begin - base;
    const int64_t high = range.end - base;
    view->low[r] = low < 0 ? 0 : low;
    view->high[r] = high > kSplitTokens ? kSplitTokens : high;
    if (view->low[r] >= view->high[r]) view->low[r] = view->high[r] = 0;
    if (view->low[r] == view->high[r]) continue;
    if (view->low[r] < view->lowest) view->lowest = view->low[r];
    if (view->high[r] > view->highest) view->highest = view->high[r];
  }
  for (int64_t page = 0; page < kSplitTokens / kPageTokens; ++page) {
    view->pages[page] = nullptr;
    if ((page + 1) * kPageTokens <= view->lowest || page * kPageTokens >= view->highest) continue;
    const int32_t id = args.page_ids[base / kPageTokens + page];
    if (id >= 0) view->pages[page] = args.pages + id * args.page_stride;
  }
}

// scores[r][256] of q[R][key_dims].
template <KvType T, int R>
inline void score_pages(const AttentionArgs& args, const SplitView<R>& view, const float* q,
                        float* scores) {
  const int64_t dims = kv_key_dims(args.head_dim);
  const int64_t block_bytes = 32 * kPageTokens * kv_element_bytes(T);
  for (int64_t page = 0; page < kSplitTokens / kPageTokens; ++page) {
    if (view.pages[page] == nullptr) continue;
    Floats sum[R];
    for (int r = 0; r < R; ++r) sum[r] = zero();
    for (int64_t block = 0; block < dims / 32; ++block) {
      chain_keys<T, R>(view.pages[page] + block * block_bytes, q + 32 * block, dims, sum);
    }
    for (int r = 0; r < R; ++r) {
      store(scores + r * kSplitTokens + page * kPageTokens,
            page_scores<T>(args, view.pages[page], sum[r]));
    }
  }
}

// Scores of one query to the weights of the values; m and l.
template <KvType T, int R>
inline void split_softmax(const AttentionArgs& args, const SplitView<R>& view, int r, float* scores,
                          float* partial) {
  const Floats lowest = broadcast(-__builtin_inff());
  const int64_t first_page = view.low[r] / kPageTokens;
  const int64_t end_page = (view.high[r] + kPageTokens - 1) / kPageTokens;
  Floats most = lowest;
  bool any = false;
  for (int64_t page = first_page; page < end_page; ++page) {
    if (view.pages[page] == nullptr) continue;
    const int64_t base = page * kPageTokens;
    const Mask visible = lanes_between(view.low[r] - base, view.high[r] - base);
    most = max(most, select(visible, load(scores + base), lowest));
    any = true;
  }
  const float m = fold_max(most);
  Floats sum = zero();
  for (int64_t page = first_page; page < end_page; ++page) {
    if (view.pages[page] == nullptr) continue;
    const int64_t base = page * kPageTokens;
    const Mask visible = lanes_between(view.low[r] - base, view.high[r] - base);
    const Floats p = select(visible, exp(sub(load(scores + base), broadcast(m))), zero());
    sum = add(sum, p);
    store(scores + base, value_weights<T>(args, view.pages[page], visible, p));
  }
  partial[0] = m;
  partial[1] = any ? fold_sum(sum) : 0.0f;
}

// o[r][16] += even + odd over 32 positions that every query sees.
template <KvType T, int R>
DUNLIN_INLINE void add_values(const std::byte* const (&lines)[2], const float* p, float* o,
                              int64_t o_stride) {
  Floats even[R];
  Floats odd[R];
  for (int r = 0; r < R; ++r) even[r] = odd[r] = zero();
  for (int page = 0; page < 2; ++page) {
#pragma GCC unroll 8
    for (int j = 0; j < 8; ++j) {
      Floats value_even;
      Floats value_odd;
      load_lines<T>(lines[page], j, &value_even, &value_odd);
      for (int r = 0; r < R; ++r) {
        const float* weights = p + r * kSplitTokens + page * kPageTokens + 2 * j;
        even[r] = fma(broadcast(weights[0]), value_even, even[r]);
        odd[r] = fma(broadcast(weights[1]), value_odd, odd[r]);
      }
    }
  }
  for (int r = 0; r < R; ++r) {
    float* to = o + r * o_stride;
    store(to, add(load(to), add(even[r], odd[r])));
  }
}

// The same for one query and the positions [begin, end) of one block, skipping pages that are not
// there.
template <KvType T, int R>
inline void add_visible_values(const AttentionArgs& args, const SplitView<R>& view, int64_t begin,
                               int64_t end, const float* p, float* o) {
  for (int64_t dim_block = 0; dim_block < kv_value_dims(args.head_dim) / 16; ++dim_block) {
    Floats even = zero();
    Floats odd = zero();
    for (int64_t u = begin; u < end; ++u) {
      const std::byte* page = view.pages[u / kPageTokens];
      if (page == nullptr) continue;
      Floats value_even;
      Floats value_odd;
      load_lines<T>(value_lines<T>(args, page, dim_block), static_cast<int>(u % kPageTokens / 2),
                    &value_even, &value_odd);
      if (u % 2 == 0) {
        even = fma(broadcast(p[u]), value_even, even);
      } else {
        odd = fma(broadcast(p[u]), value_odd, odd);
      }
    }
    float* to = o + 16 * dim_block;
    store(to, add(load(to), add(even, odd)));
  }
}

template <KvType T, int R>
inline void weigh_values(const AttentionArgs& args, const SplitView<R>& view, const float* p,
                         float* o, int64_t o_stride) {
  const int64_t dim_blocks = kv_value_dims(args.head_dim) / 16;
  for (int r = 0; r < R; ++r) {
    for (int64_t d = 0; d < dim_blocks; ++d) store(o + r * o_stride + 16 * d, zero());
  }
  for (int64_t base = view.lowest / 32 * 32; base < view.highest; base += 32) {
    const std::byte* const* pages = view.pages + base / kPageTokens;
    bool all = pages[0] != nullptr && pages[1] != nullptr;
    for (int r = 0; r < R; ++r) all = all && view.low[r] <= base && view.high[r] >= base + 32;
    if (all) {
      for (int64_t d = 0; d < dim_blocks; ++d) {
        const std::byte* const lines[2] = {value_lines<T>(args, pages[0], d),
                                           value_lines<T>(args, pages[1], d)};
        add_values<T, R>(lines, p + base, o + 16 * d, o_stride);
      }
      continue;
    }
    for (int r = 0; r < R; ++r) {
      const int64_t begin = view.low[r] > base ? view.low[r] : base;
      const int64_t end = view.high[r] < base + 32 ? view.high[r] : base + 32;
      if (begin < end)
        add_visible_values<T, R>(args, view, begin, end, p + r * kSplitTokens, o + r * o_stride);
    }
  }
}

// Queries [query, query + R), rounded: q[R][key_dims].
template <KvType T>
inline void round_queries(const AttentionArgs& args, int64_t query, int64_t count, float* q) {
  const int64_t dims = kv_key_dims(args.head_dim);
  for (int64_t i = 0; i < count; ++i) {
    const int64_t row = (query + i) / args.group;
    const int64_t head = (query + i) % args.group;
    const float* from = args.q + row * args.q_stride + head * args.head_dim;
    for (int64_t d = 0; d < dims; d += 16) {
      const int64_t left = args.head_dim - d;
      const Floats value = left >= 16 ? load(from + d) : load_first(from + d, left < 0 ? 0 : left);
      store(q + i * dims + d, kRoundsToBf16<T> ? round_bf16(value) : value);
    }
  }
}

template <KvType T, int R>
inline void split_queries(const AttentionArgs& args, int64_t split, int64_t query, const float* q,
                          float* scores, float* partials, int64_t stride) {
  SplitView<R> view;
  view_split<R>(args, split, query, R, &view);
  score_pages<T, R>(args, view, q, scores);
  for (int r = 0; r < R; ++r)
    split_softmax<T, R>(args, view, r, scores + r * kSplitTokens, partials + r * stride);
  weigh_values<T, R>(args, view, scores, partials + 16, stride);
}

// `count` queries as groups of R, then R / 2 ...
template <KvType T, int R>
inline void split_block(const AttentionArgs& args, int64_t split, int64_t query, int64_t count,
                        const float* q, float* scores, float* partials, int64_t stride) {
  const int64_t dims = kv_key_dims(args.head_dim);
  while (count >= R) {
    split_queries<T, R>(args, split, query, q, scores, partials, stride);
    query += R;
    count -= R;
    q += R * dims;
    partials += R * stride;
  }
  if constexpr (R > 1)
    split_block<T, R / 2>(args, split, query, count, q, scores, partials, stride);
}

template <KvType T>
void attention_split(const AttentionArgs& args, int64_t split, float* partials,
                     int64_t stride) noexcept {
  const AttentionWorkspace workspace(args.workspace, args.head_dim);
  const int64_t queries = args.rows * args.group;
  for (int64_t query = 0; query < queries; query += kAttentionBlock) {
    const int64_t left = queries - query;
    const int64_t count = left < kAttentionBlock ? left : kAttentionBlock;
    round_queries<T>(args, query, count, workspace.q);
    split_block<T, kAttentionRows>(args, split, query, count, workspace.q, workspace.scores,
                                   partials + query * stride, stride);
  }
}

// ---- merge ----

// state = m, l; o[dims] whole vectors.
DUNLIN_INLINE void merge_partial(const float* partial, int64_t dims, float* state, float* o) {
  if (partial[1] == 0.0f) return;
  const float m = state[0];
  const float most = m > partial[0] ? m : partial[0];
  const Floats a = exp(broadcast(m - most));
  const Floats b = exp(broadcast(partial[0] - most));
  state[0] = most;
  state[1] = first(fma(broadcast(partial[1]), b, mul(broadcast(state[1]), a)));
  for (int64_t d = 0; d < dims; d += 16)
    store(o + d, fma(load(partial + 16 + d), b, mul(load(o + d), a)));
}

DUNLIN_INLINE void begin_merge(const float* sink, int64_t dims, float* state, float* o) {
  state[0] = sink != nullptr ? *sink : -__builtin_inff();
  state[1] = sink != nullptr ? 1.0f : 0.0f;
  for (int64_t d = 0; d < dims; d += 16) store(o + d, zero());
}

DUNLIN_INLINE void end_merge(const float* state, const float* o, int64_t head_dim, float* y) {
  const Floats inverse = broadcast(1.0f / state[1]);
  for (int64_t d = 0; d < head_dim; d += 16)
    store_first(y + d, mul(load(o + d), inverse), head_dim - d);
}

inline void attention_merge(const float* partials, int64_t count, int64_t stride, int64_t head_dim,
                            const float* sink, float* y) noexcept {
  // Sixteen dimensions at a time, so that the sums need no memory beyond registers.
  for (int64_t d = 0; d < head_dim; d += 16) {
    float state[2];
    float o[16];
    begin_merge(sink, 16, state, o);
    for (int64_t i = 0; i < count; ++i) {
      const float* partial = partials + i * stride;
      if (partial[1] == 0.0f) continue;
      float chunk[32];
      chunk[0] = partial[0];
      chunk[1] = partial[1];
      store(chunk + 16, load(partial + 16 + d));
      merge_partial(chunk, 16, state, o);
    }
    end_merge(state, o, head_dim - d < 16 ? head_dim - d : 16, y + d);
  }
}

template <KvType T>
void attention(const AttentionArgs& args, float* y, int64_t y_stride) noexcept {
  const AttentionWorkspace workspace(args.workspace, args.head_dim);
  const int64_t dims = kv_value_dims(args.head_dim);
  const int64_t stride = attention_partial_floats(args.head_dim);
  const int64_t queries = args.rows * args.group;
  for (int64_t query = 0; query < queries; query += kAttentionBlock) {
    const int64_t left = queries - query;
    const int64_t count = left < kAttentionBlock ? left : kAttentionBlock;
    round_queries<T>(args, query, count, workspace.q);
    for (int64_t i = 0; i < count; ++i) {
      const float* sink = args.sinks != nullptr ? args.sinks + (query + i) % args.group : nullptr;
      begin_merge(sink, dims, workspace.states + i * stride, workspace.states + i * stride + 16);
    }
    const int64_t last = query + count - 1;
    const SplitRange splits = splits_of_rows(args, query / args.group, last / args.group + 1);
    for (int64_t split = splits.first; split < splits.end; ++split) {
      split_block<T, kAttentionRows>(args, split, query, count, workspace.q, workspace.scores,
                                     workspace.partials, stride);
      for (int64_t i = 0; i < count; ++i) {
        float* state = workspace.states + i * stride;
        merge_partial(workspace.partials + i * stride, dims, state, state + 16);
      }
    }
    for (int64_t i = 0; i < count; ++i) {
      const float* state = workspace.states + i * stride;
      const int64_t row = (query + i) / args.group;
      const int64_t head = (query + i) % args.group;
      end_merge(state, state + 16, args.head_dim, y + row * y_stride + head * args.head_dim);
    }
  }
}
