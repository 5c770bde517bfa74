// The int8 arithmetic of linear: exact integer sums per weight group, then fused multiply-adds
// (docs/decisions/0002-numerics.md, "Arithmetic of linear"). Included inside the namespace and
// target region of an instruction set, after linear.inl.h and a dot.inl.h.

// acc[r] = fma(float(sum q * code), ws * s, acc[r]), and with minima acc[r] = fma(float(sum q),
// wm * s, acc[r]). Group `group` of the record: columns 4 First .. of the block that `codes` and `x`
// are of. Codes are stored with an offset; what it adds to a sum is taken off in float32, where
// both are whole numbers below 2^24.
template <PackedForm F, int R, int T, int First, int Fours>
DUNLIN_INLINE void int8_group(const RecordScales<F>& scales, const BlockCodes<F>& codes,
                              int64_t group, const Int8Rows<T>& x, Floats (&acc)[R]) {
  constexpr int32_t kOffset = F == PackedForm::q8 && !kQ8Unsigned ? 0 : code_offset(F);
  Ints dot[R];
  dot_group<F, R, First, Fours>(codes, x, dot);
  const Floats weight_scale = scales.scale(group);
  const Floats weight_min = has_min(F) ? scales.min(group) : zero();
  for (int r = 0; r < R; ++r) {
    const Floats scale = x.scale(r);
    const Floats sum = Fours == 8 ? x.sum(r) : x.half_sum(First / 4, r);
    Floats value = to_floats(dot[r]);
    if constexpr (kOffset != 0) value = fma(sum, broadcast(-static_cast<float>(kOffset)), value);
    acc[r] = fma(value, mul(weight_scale, scale), acc[r]);
    if constexpr (has_min(F)) acc[r] = fma(sum, mul(weight_min, scale), acc[r]);
  }
}

template <PackedForm F, int R, int T, bool Half>
DUNLIN_INLINE void int8_record(const Records<F>& records, const std::byte* record, int64_t blocks,
                               Int8Rows<T> x, Floats (&acc)[R]) {
  // Spread evenly, as a burst of requests would hold up the loads that compute waits for: 16
  // channels of a block have 64 bytes for every bit of a code, and at most a line of scales.
  constexpr int kLines = code_bits(F) + 1;
  const RecordScales<F> scales = RecordScales<F>::of(records, record);
  const std::byte* ahead = record + records.prefetch_bytes;
  for (int64_t block = 0; block < blocks; ++block, ++x.tile, ahead += 64 * kLines) {
    for (int line = 0; line < kLines; ++line) prefetch(ahead + 64 * line);
    const BlockCodes<F> codes = BlockCodes<F>::of(records, record, block);
    if constexpr (Half) {
      int8_group<F, R, T, 0, 4>(scales, codes, 2 * block, x, acc);
      int8_group<F, R, T, 4, 4>(scales, codes, 2 * block + 1, x, acc);
    } else {
      int8_group<F, R, T, 0, 8>(scales, codes, block, x, acc);
    }
  }
}

// Rows [row, row_end) of one tile, R at a time, then R / 2 ...
template <PackedForm F, int R, int T, bool Half>
inline void int8_rows(const LinearArgs& args, const Records<F>& records, int64_t stripe,
                      int64_t row, int64_t row_end) {
  const PackedLayout& layout = args.weight.layout;
  const int64_t blocks = layout.columns / 32;
  const int64_t record_blocks = int64_t{1} << records.shift;
  const Int8Tile<T>* tiles =
      reinterpret_cast<const Int8Tile<T>*>(args.activations) + row / T * blocks;
  for (; row_end - row >= R; row += R) {
    const std::byte* record =
        args.weight.data + stripe * layout.stripe_bytes() + layout.records_at();
    Floats acc[R];
    for (int r = 0; r < R; ++r) acc[r] = zero();
    for (int64_t block = 0; block < blocks; block += record_blocks) {
      const int64_t left = blocks - block;
      int8_record<F, R, T, Half>(records, record, left < record_blocks ? left : record_blocks,
                                 {tiles + block, row % T}, acc);
      record += records.bytes;
    }
    for (int r = 0; r < R; ++r) write_sum(args, stripe, row + r, acc[r]);
  }
  if constexpr (R > 1) int8_rows<F, R / 2, T, Half>(args, records, stripe, row, row_end);
}

// Calls f(stripe, row, row_end) for the rows of each tile of T and each stripe. A tile of rows stays in
// L1 while kLinearStripeBlock stripes, which stay in L2, go by.
template <int T, typename F>
DUNLIN_INLINE void for_row_tiles(const LinearArgs& args, const F& f) {
  for (int64_t first = args.stripe_begin; first < args.stripe_end; first += kLinearStripeBlock) {
    const int64_t end = first + kLinearStripeBlock;
    const int64_t last = end < args.stripe_end ? end : args.stripe_end;
    for (int64_t row = args.row_begin; row < args.row_end; row += T) {
      const int64_t row_end = row + T < args.row_end ? row + T : args.row_end;
      for (int64_t stripe = first; stripe < last; ++stripe) f(stripe, row, row_end);
    }
  }
}

template <PackedForm F, int R, int T, bool Half>
inline void int8_tiles(const LinearArgs& args) {
  const Records<F> records = Records<F>::of(args.weight.layout, args.prefetch_bytes);
  for_row_tiles<T>(
      args, [&args, &records](int64_t stripe, int64_t row, int64_t row_end) DUNLIN_ALWAYS_INLINE {
        int8_rows<F, R, T, Half>(args, records, stripe, row, row_end);
      });
}

template <PackedForm F, bool Half>
inline void int8_groups(const LinearArgs& args) {
  if (args.rows == 1) {
    int8_tiles<F, 1, 1, Half>(args);
  } else {
    int8_tiles<F, kInt8Rows, kInt8TileRows, Half>(args);
  }
}

template <PackedForm F>
void linear_int8(const LinearArgs& args) noexcept {
  if (args.weight.layout.group == 32) {
    int8_groups<F, false>(args);
  } else {
    int8_groups<F, true>(args);
  }
}
