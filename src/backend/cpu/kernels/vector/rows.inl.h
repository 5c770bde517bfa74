// Element-wise and row kernels over sixteen lanes: activation rounding and quantisation, norms,
// gates, rope, logits (docs/decisions/0002-numerics.md). Included inside the namespace and target
// region of an instruction set, after quantise.inl.h.

template <bool Round>
void prepare_floats(const PrepareArgs& args) noexcept {
  const int64_t stride = float_row_stride(args.columns);
  const int64_t padded = padded_columns(args.columns);
  for (int64_t row = args.row_begin; row < args.row_end; ++row) {
    const float* x = args.x + (row - args.x_row) * args.x_stride;
    float* out = reinterpret_cast<float*>(args.out) + row * stride;
    Floats smallest = broadcast(__builtin_inff());
    Floats largest = zero();
    for (int64_t k = 0; k < padded; k += 16) {
      Floats value = load_columns(x, k, args.columns);
      if constexpr (Round) value = round_bf16(value);
      store(out + k, value);
      const Floats magnitude = abs(value);
      largest = max(magnitude, largest);
      smallest = min(select(equal(value, zero()), smallest, magnitude), smallest);
    }
    const float most = fold_max(largest);
    out[padded + kRowLargest] = most == 0.0f ? 1.0f : most;
    out[padded + kRowSmallest] = most == 0.0f ? 1.0f : -fold_max(negate(smallest));
  }
}

inline void prepare_int8(const PrepareArgs& args) noexcept {
  if (args.rows == 1) {
    prepare_int8_tiles<1>(args);
  } else {
    prepare_int8_tiles<kInt8TileRows>(args);
  }
}

inline void prepare_int8wide(const PrepareArgs& args) noexcept {
  if (args.rows == 1) {
    prepare_wide_tiles<1>(args);
  } else {
    prepare_wide_tiles<kInt8TileRows>(args);
  }
}

inline void rms_norm(const float* x, const float* w, int64_t n, float eps, float* y) noexcept {
  Floats squares = zero();
  int64_t i = 0;
  for (; i + 16 <= n; i += 16) {
    const Floats v = load(x + i);
    squares = fma(v, v, squares);
  }
  const Floats tail = load_first(x + i, n - i);
  squares = fma(tail, tail, squares);
  const float mean = fold_sum(squares) / static_cast<float>(n);
  const float r = 1.0f / __builtin_sqrtf(mean + eps);
  for (i = 0; i + 16 <= n; i += 16) store(y + i, mul(mul(load(x + i), broadcast(r)), load(w + i)));
  if (i < n)
    store_first(y + i, mul(mul(load_first(x + i, n - i), broadcast(r)), load_first(w + i, n - i)),
                n - i);
}

template <Floats (*Op)(Floats, Floats)>
void binary(const float* a, const float* b, int64_t n, float* y) noexcept {
  int64_t i = 0;
  for (; i + 16 <= n; i += 16) store(y + i, Op(load(a + i), load(b + i)));
  if (i < n) store_first(y + i, Op(load_first(a + i, n - i), load_first(b + i, n - i)), n - i);
}

inline void add_scaled(const float* x, float factor, int64_t n, float* y) noexcept {
  const Floats f = broadcast(factor);
  int64_t i = 0;
  for (; i + 16 <= n; i += 16) store(y + i, fma(f, load(x + i), load(y + i)));
  if (i < n) store_first(y + i, fma(f, load_first(x + i, n - i), load_first(y + i, n - i)), n - i);
}

template <Gate G>
DUNLIN_INLINE Floats gate_value(Floats gate, Floats up, Floats alpha, Floats limit) {
  const Floats one = broadcast(1.0f);
  if constexpr (G == Gate::silu) {
    return mul(div(gate, add(one, exp(negate(gate)))), up);
  } else if constexpr (G == Gate::gelu_tanh) {
    const Floats cube = mul(mul(gate, gate), gate);
    const Floats inner = add(gate, mul(broadcast(0.044715f), cube));
    return mul(mul(gate, sigmoid(mul(broadcast(1.5957691f), inner))), up);
  } else {
    const Floats g = min(gate, limit);
    const Floats u = min(max(up, negate(limit)), limit);
    return mul(add(u, one), mul(g, sigmoid(mul(alpha, g))));
  }
}

template <Gate G>
void gated(const float* gate, const float* up, int64_t n, float alpha, float limit,
           float* y) noexcept {
  const Floats a = broadcast(alpha);
  const Floats l = broadcast(limit);
  int64_t i = 0;
  for (; i + 16 <= n; i += 16) store(y + i, gate_value<G>(load(gate + i), load(up + i), a, l));
  if (i < n) {
    store_first(y + i, gate_value<G>(load_first(gate + i, n - i), load_first(up + i, n - i), a, l),
                n - i);
  }
}

// Pairs (i, i + rotary_dim / 2) of one head.
DUNLIN_INLINE void rope_head(const float* x, int64_t half, const float* angles, float* y) {
  int64_t i = 0;
  for (; i + 16 <= half; i += 16) {
    Floats cosine;
    Floats sine;
    load_pairs(angles + 2 * i, &cosine, &sine);
    const Floats a = load(x + i);
    const Floats b = load(x + half + i);
    store(y + i, fma(a, cosine, negate(mul(b, sine))));
    store(y + half + i, fma(b, cosine, mul(a, sine)));
  }
  for (; i < half; ++i) {
    const float cosine = angles[2 * i];
    const float sine = angles[2 * i + 1];
    const float a = x[i];
    const float b = x[half + i];
    y[i] = __builtin_fmaf(a, cosine, -(b * sine));
    y[half + i] = __builtin_fmaf(b, cosine, a * sine);
  }
}

inline void rope(const float* x, int64_t heads, int64_t head_dim, int64_t rotary_dim,
                 const float* angles, float* y) noexcept {
  for (int64_t head = 0; head < heads; ++head) {
    const float* from = x + head * head_dim;
    float* to = y + head * head_dim;
    rope_head(from, rotary_dim / 2, angles, to);
    if (to != from) {
      for (int64_t i = rotary_dim; i < head_dim; ++i) to[i] = from[i];
    }
  }
}

// Logits i .. i + 15; lanes past the end are -infinity.
DUNLIN_INLINE Floats load_logits(const float* logits, int64_t i, int64_t n) {
  if (n - i >= 16) return load(logits + i);
  return select(lanes_between(0, n - i), load_first(logits + i, n - i),
                broadcast(-__builtin_inff()));
}

inline void logit_statistics(const float* logits, int64_t n, LogitStatistics* statistics) noexcept {
  const Floats infinity = broadcast(__builtin_inff());
  Floats most = negate(infinity);
  uint32_t bad = 0;
  for (int64_t i = 0; i < n; i += 16) {
    const Floats l = load_logits(logits, i, n);
    bad |= bits(not_number(l)) | bits(equal(l, infinity));
    most = max(l, most);
  }
  const float m = fold_max(most);
  statistics->max = m;
  statistics->finite = bad == 0 && m > -__builtin_inff();

  // e = 0 adds nothing to any sum: a logit of -infinity has no e * l.
  Floats e_sum = zero();
  Floats el_sum = zero();
  for (int64_t i = 0; i < n; i += 16) {
    const Floats l = load_logits(logits, i, n);
    const Floats e = exp(sub(l, broadcast(m)));
    e_sum = add(e_sum, e);
    el_sum = add(el_sum, select(equal(e, zero()), zero(), mul(e, l)));
  }
  const float z = fold_sum(e_sum);
  const float lse = m + log_once(z);
  const float entropy = lse - fold_sum(el_sum) / z;

  Floats square_sum = zero();
  for (int64_t i = 0; i < n; i += 16) {
    const Floats l = load_logits(logits, i, n);
    const Floats e = exp(sub(l, broadcast(m)));
    const Floats d = add(sub(l, broadcast(lse)), broadcast(entropy));
    square_sum = add(square_sum, select(equal(e, zero()), zero(), mul(e, mul(d, d))));
  }
  statistics->log_sum_exp = lse;
  statistics->entropy = entropy;
  statistics->varentropy = fold_sum(square_sum) / z;
}

// ids and values stay sorted; a new entry goes behind its equals, which have lower ids.
DUNLIN_INLINE void insert_candidate(int64_t kept, float value, int32_t id, int32_t* ids,
                                    float* values) {
  int64_t at = kept;
  for (; at > 0 && values[at - 1] < value; --at) {
    values[at] = values[at - 1];
    ids[at] = ids[at - 1];
  }
  values[at] = value;
  ids[at] = id;
}

inline void top_k(const float* logits, int64_t n, int64_t k, int32_t* ids, float* values) noexcept {
  int64_t i = 0;
  for (; i < k; ++i) {
    const float value = logits[i] == logits[i] ? logits[i] : -__builtin_inff();
    insert_candidate(i, value, static_cast<int32_t>(i), ids, values);
  }
  while (i < n) {
    const int64_t count = n - i < 16 ? n - i : 16;
    // The threshold only rises within the sixteen, so lanes below it now stay out.
    uint32_t better = bits(less(broadcast(values[k - 1]), load_logits(logits, i, n)));
    for (; better != 0; better &= better - 1) {
      const int64_t id = i + __builtin_ctz(better);
      if (logits[id] > values[k - 1])
        insert_candidate(k - 1, logits[id], static_cast<int32_t>(id), ids, values);
    }
    i += count;
  }
}
