// What the storage type of keys and values changes: their lines of a page (kv_page.h), the scales of
// codes, what is rounded (docs/decisions/0002-numerics.md, "Attention"). Included inside the namespace
// and target region of an instruction set, after linear.inl.h; attention.inl.h follows.

// Queries and the weights of values are rounded to bf16, unless the cache holds float32.
template <KvType T>
constexpr bool kRoundsToBf16 = T != KvType::f32;
template <KvType T>
constexpr PackedForm kKvForm = T == KvType::f32 ? PackedForm::f32 : PackedForm::bf16;

// Lines 2j and 2j + 1 of sixteen elements: dimensions of a page's keys, positions of sixteen
// dimensions of its values. Codes as the whole numbers they are.
template <KvType T>
DUNLIN_INLINE void load_lines(const std::byte* lines, int j, Floats* even, Floats* odd) {
  if constexpr (T == KvType::int8) {
    *even = to_floats(load_signed_bytes(lines + 32 * j));
    *odd = to_floats(load_signed_bytes(lines + 32 * j + 16));
  } else {
    load_pair<kKvForm<T>>(lines, j, even, odd);
  }
}

// c[r] += even + odd of 32 dimensions of a page's keys.
template <KvType T, int R>
DUNLIN_INLINE void chain_keys(const std::byte* lines, const float* q, int64_t q_stride,
                              Floats (&c)[R]) {
  if constexpr (T == KvType::int8) {
    const auto load = [lines](int j, Floats* even, Floats* odd) DUNLIN_ALWAYS_INLINE {
      load_lines<T>(lines, j, even, odd);
      if (j % 2 == 0) prefetch(lines + kPrefetchBytes / 2 + 32 * j);  // a line for two pairs
    };
    chain_pairs(load, q, q_stride, c);
  } else {
    chain_record<kKvForm<T>, R>(lines, kPrefetchBytes, q, q_stride, c);
  }
}

// The lines of a page's values for sixteen dimensions.
template <KvType T>
DUNLIN_INLINE const std::byte* value_lines(const AttentionArgs& args, const std::byte* page,
                                           int64_t dim_block) {
  return page + kv_value_offset(T, args.head_dim) +
         dim_block * kPageTokens * 16 * kv_element_bytes(T);
}

// Scales of the sixteen keys, and of the values, of a page that has them.
DUNLIN_INLINE Floats load_key_scales(const AttentionArgs& args, const std::byte* page) {
  return load(reinterpret_cast<const float*>(page + kv_key_scales_offset(args.head_dim)));
}
DUNLIN_INLINE Floats load_value_scales(const AttentionArgs& args, const std::byte* page) {
  return load(reinterpret_cast<const float*>(page + kv_value_scales_offset(args.head_dim)));
}

// Chain sums of a page to scores: times the keys' scales, times the scale, capped.
DUNLIN_INLINE Floats scaled_score(const AttentionArgs& args, Floats sum) {
  const Floats score = mul(sum, broadcast(args.scale));
  if (args.softcap == 0.0f) return score;
  const Floats cap = broadcast(args.softcap);
  return mul(cap, tanh(div(score, cap)));
}

template <KvType T>
DUNLIN_INLINE Floats page_scores(const AttentionArgs& args, const std::byte* page, Floats sum) {
  if constexpr (kv_has_scales(T)) sum = mul(sum, load_key_scales(args, page));
  return scaled_score(args, sum);
}

// Probabilities of a page's positions to what its values are weighed with: times the values' scales,
// rounded. What is not visible weighs nothing, whatever its scale is.
template <KvType T>
DUNLIN_INLINE Floats value_weights(const AttentionArgs& args, const std::byte* page, Mask visible,
                                   Floats p) {
  if constexpr (kv_has_scales(T))
    p = select(visible, mul(p, load_value_scales(args, page)), zero());
  return kRoundsToBf16<T> ? round_bf16(p) : p;
}
