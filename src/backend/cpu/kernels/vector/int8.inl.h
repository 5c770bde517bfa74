// The int8 arithmetic of linear: exact integer sums per weight group, then fused multiply-adds
// (docs/decisions/0002-numerics.md, "Arithmetic of linear"). Included inside the namespace and
// target region of an instruction set, after records.inl.h and linear.inl.h.

template <int R>
struct Int8Activations {
  const int8_t* codes;
  const float* scales;
  const int32_t* sums;
  const int32_t* half_sums;
  int64_t stride;  // bytes between rows, the same for all four

  template <typename T>
  static DUNLIN_INLINE T at(const T* base, int64_t row_bytes, int64_t index) {
    return *reinterpret_cast<const T*>(reinterpret_cast<const std::byte*>(base) + row_bytes +
                                       index * sizeof(T));
  }
  DUNLIN_INLINE float scale(int r, int64_t g) const { return at(scales, r * stride, g); }
  DUNLIN_INLINE int32_t sum(int r, int64_t g) const { return at(sums, r * stride, g); }
  DUNLIN_INLINE int32_t half_sum(int r, int64_t g) const { return at(half_sums, r * stride, g); }
};

// The columns of one weight group within a block of 32: all of it, or one half.
template <PackedForm F, int R, int First, int Fours>
DUNLIN_INLINE void dot_group(const BlockCodes<F>& codes, const int8_t* x, int64_t x_stride,
                             Ints (&dot)[R]) {
  Ints partial[kDotChains][R];
  for (int r = 0; r < R; ++r) {
    dot[r] = broadcast_int(0);
    for (int i = 0; i < kDotChains; ++i) partial[i][r] = broadcast_int(0);
  }
  for_eight([&]<int C>() DUNLIN_ALWAYS_INLINE {
    if constexpr (C >= First && C < First + Fours) {
      constexpr int kStep = C - First;
      const Ints four = codes.template four<C>();
      for (int r = 0; r < R; ++r) {
        const Ints values = broadcast_int(four_codes(x + r * x_stride + 4 * C));
        Ints& sum = partial[kStep % kDotChains][r];
        sum = F == PackedForm::q8 ? dot_step_q8(sum, four, values) : dot_step(sum, four, values);
      }
      constexpr int kSteps = (F == PackedForm::q8 ? 8 : dot_steps(code_bits(F))) * kDotChains;
      if constexpr ((kStep + 1) % kSteps == 0 || kStep + 1 == Fours) {
        for (int r = 0; r < R; ++r) {
          for (int i = 0; i < kDotChains; ++i) {
            const Ints& sum = partial[i][r];
            dot[r] = add(dot[r], F == PackedForm::q8 ? sum : dot_total(sum));
            partial[i][r] = broadcast_int(0);
          }
        }
      }
    }
  });
}

// acc[r] = fma(float(sum q * code), ws * s, acc[r]), and with minima acc[r] = fma(float(sum q),
// wm * s, acc[r]). Group `group` of the record, columns 4 First .. of block `block`, whose
// activations are `g`.
template <PackedForm F, int R, int First, int Fours>
DUNLIN_INLINE void int8_group(const RecordScales<F>& scales, const BlockCodes<F>& codes,
                              int64_t group, const Int8Activations<R>& x, int64_t g,
                              Floats (&acc)[R]) {
  constexpr int32_t kOffset = F == PackedForm::q8 && !kQ8Unsigned ? 0 : code_offset(F);
  Ints dot[R];
  dot_group<F, R, First, Fours>(codes, x.codes + 32 * g, x.stride, dot);
  const Floats weight_scale = scales.scale(group);
  const Floats weight_min = has_min(F) ? scales.min(group) : zero();
  for (int r = 0; r < R; ++r) {
    const int32_t sum = Fours == 8 ? x.sum(r, g) : x.half_sum(r, 2 * g + First / 4);
    const Floats scale = broadcast(x.scale(r, g));
    const Floats value = to_floats(sub(dot[r], broadcast_int(kOffset * sum)));
    acc[r] = fma(value, mul(weight_scale, scale), acc[r]);
    if constexpr (has_min(F)) {
      acc[r] = fma(broadcast(static_cast<float>(sum)), mul(weight_min, scale), acc[r]);
    }
  }
}

// Lines of a record that come with block `block`: spread evenly, as a burst of requests would hold
// up the loads that compute waits for.
DUNLIN_INLINE void prefetch_record(const std::byte* record, int64_t record_bytes, int64_t block,
                                   int64_t blocks) {
  const int64_t lines = record_bytes / 64;
  for (int64_t line = lines * block / blocks; line < lines * (block + 1) / blocks; ++line) {
    prefetch(record + kPrefetchBytes + 64 * line);
  }
}

template <PackedForm F, int R>
DUNLIN_INLINE void int8_record(const PackedLayout& layout, const std::byte* record, int64_t blocks,
                               const Int8Activations<R>& x, int64_t g, Floats (&acc)[R]) {
  const RecordScales<F> scales = RecordScales<F>::of(layout, record);
  const int64_t record_blocks = layout.record_columns() / 32;
  for (int64_t block = 0; block < blocks; ++block) {
    prefetch_record(record, layout.record_bytes(), block, record_blocks);
    const BlockCodes<F> codes = BlockCodes<F>::of(layout, record, block);
    if (layout.group == 32) {
      int8_group<F, R, 0, 8>(scales, codes, block, x, g + block, acc);
    } else {
      int8_group<F, R, 0, 4>(scales, codes, 2 * block, x, g + block, acc);
      int8_group<F, R, 4, 4>(scales, codes, 2 * block + 1, x, g + block, acc);
    }
  }
}

template <PackedForm F, int R>
inline void int8_rows(const LinearArgs& args, int64_t stripe, int64_t row, int64_t row_end) {
  const PackedLayout& layout = args.weight.layout;
  const Int8RowLayout rows(layout.columns);
  const int64_t record_blocks = layout.record_columns() / 32;
  for (; row_end - row >= R; row += R) {
    const std::byte* x = args.activations + row * rows.row_bytes;
    const Int8Activations<R> activations{
        reinterpret_cast<const int8_t*>(x), reinterpret_cast<const float*>(x + rows.scales),
        reinterpret_cast<const int32_t*>(x + rows.sums),
        reinterpret_cast<const int32_t*>(x + rows.half_sums), rows.row_bytes};
    const std::byte* record = args.weight.data + stripe * layout.stripe_bytes();
    Floats acc[R];
    for (int r = 0; r < R; ++r) acc[r] = zero();
    for (int64_t g = 0; g < rows.groups; g += record_blocks) {
      const int64_t left = rows.groups - g;
      int8_record<F, R>(layout, record, left < record_blocks ? left : record_blocks, activations, g,
                        acc);
      record += layout.record_bytes();
    }
    for (int r = 0; r < R; ++r) write_sum(args, stripe, row + r, acc[r]);
  }
  if constexpr (R > 1) int8_rows<F, R / 2>(args, stripe, row, row_end);
}

template <PackedForm F>
void linear_int8(const LinearArgs& args) noexcept {
  for (int64_t stripe = args.stripe_begin; stripe < args.stripe_end; ++stripe) {
    int8_rows<F, kInt8Rows>(args, stripe, args.row_begin, args.row_end);
  }
}
