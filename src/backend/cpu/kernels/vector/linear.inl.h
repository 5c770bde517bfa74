// linear over packed weights, sixteen channels per vector (docs/decisions/0002-numerics.md,
// "Arithmetic of linear"). Included inside the namespace and target region of an instruction set.
//
// f32 and bf16 are one kernel: chain sums over float32 activations that prepare has rounded, or
// not. Few rows read 16- and 32-bit weights where they lie; many rows, and integer weights, go
// through a panel of kPanelStripes stripes x kPanelColumns columns that is expanded to float32 once
// for up to kLinearRowBlock rows.

constexpr int64_t kPanelColumns =
    256;  // panel of 32 channels: 32 KB, with the rows' 6 KB within a 48 KB L1
constexpr int64_t kPrefetchBytes = 2048;

DUNLIN_INLINE Floats load_scale(ScaleType type, const std::byte* scales, int64_t index) {
  return type == ScaleType::f16 ? load_f16(scales + 32 * index)
                                : load(reinterpret_cast<const float*>(scales + 64 * index));
}

// Sum to result: residual + (sum + bias), for the channels of the stripe that exist.
DUNLIN_INLINE void write_sum(const LinearArgs& args, int64_t stripe, int64_t row, Floats sum) {
  const int64_t channel = stripe * kStripeRows;
  const int64_t count = args.weight.layout.rows - channel;
  float* y = args.y + row * args.y_stride + channel;
  if (count >= 16) {
    if (args.bias != nullptr) sum = add(sum, load(args.bias + channel));
    if (args.residual != nullptr)
      sum = add(load(args.residual + row * args.y_stride + channel), sum);
    store(y, sum);
    return;
  }
  if (args.bias != nullptr) sum = add(sum, load_first(args.bias + channel, count));
  if (args.residual != nullptr)
    sum = add(load_first(args.residual + row * args.y_stride + channel, count), sum);
  store_first(y, sum, count);
}

// ---- expansion of 32 columns of a stripe to float32 ----

// Columns 2j and 2j + 1 of a floating-point record.
template <PackedForm F>
DUNLIN_INLINE void load_pair(const std::byte* record, int j, Floats* even, Floats* odd) {
  if constexpr (F == PackedForm::f32) {
    *even = load(reinterpret_cast<const float*>(record + 128 * j));
    *odd = load(reinterpret_cast<const float*>(record + 128 * j + 64));
  } else if constexpr (F == PackedForm::bf16) {
    const Ints pairs = load_ints(record + 64 * j);
    *even = as_floats(shift_left<16>(pairs));
    *odd = as_floats(bit_and(pairs, broadcast_int(-65536)));
  } else {
    split_f16(load_ints(record + 64 * j), even, odd);
  }
}

// value = scale * code (+ min), each rounded, then rounded to bf16 when Round.
template <PackedForm F, bool Round>
DUNLIN_INLINE Floats code_value(Ints code, Floats scale, Floats min) {
  constexpr int32_t kOffset = F == PackedForm::q4 ? 8 : F == PackedForm::q8 ? 128 : 0;
  if constexpr (kOffset != 0) code = sub(code, broadcast_int(kOffset));
  Floats value = mul(scale, to_floats(code));
  if constexpr (F == PackedForm::q4_min) value = add(value, min);
  return Round ? round_bf16(value) : value;
}

template <PackedForm F, bool Round, int Shift>
DUNLIN_INLINE void store_code(Ints line, Floats scale, Floats min, float* out) {
  constexpr int32_t kMask = F == PackedForm::q8 ? 255 : 15;
  store(out,
        code_value<F, Round>(bit_and(shift_right<Shift>(line), broadcast_int(kMask)), scale, min));
}

template <PackedForm F, bool Round>
DUNLIN_INLINE void expand_codes(const PackedLayout& layout, const std::byte* record, int64_t half,
                                float* out, int64_t stride) {
  constexpr int64_t kCodeBytes = F == PackedForm::q8 ? 1024 : 512;
  const std::byte* scales = record + kCodeBytes;
  if constexpr (F == PackedForm::q8) {
    const int64_t group_lines = layout.group / 4;
    for (int64_t j = 0; j < 8; ++j) {
      const Floats scale = load_scale(layout.scale, scales, (8 * half + j) / group_lines);
      const Floats min = zero();
      const Ints line = load_ints(record + 64 * (8 * half + j));
      float* to = out + 4 * j * stride;
      store_code<F, Round, 0>(line, scale, min, to);
      store_code<F, Round, 8>(line, scale, min, to + stride);
      store_code<F, Round, 16>(line, scale, min, to + 2 * stride);
      store_code<F, Round, 24>(line, scale, min, to + 3 * stride);
    }
  } else {
    const Floats scale = load_scale(layout.scale, scales, half);
    const Floats min = F == PackedForm::q4_min
                           ? load_scale(layout.scale, scales + layout.scale_bytes(), half)
                           : zero();
    for (int64_t j = 0; j < 4; ++j) {
      const Ints line = load_ints(record + 64 * (4 * half + j));
      float* to = out + 8 * j * stride;
      store_code<F, Round, 0>(line, scale, min, to);
      store_code<F, Round, 8>(line, scale, min, to + stride);
      store_code<F, Round, 16>(line, scale, min, to + 2 * stride);
      store_code<F, Round, 24>(line, scale, min, to + 3 * stride);
      store_code<F, Round, 4>(line, scale, min, to + 4 * stride);
      store_code<F, Round, 12>(line, scale, min, to + 5 * stride);
      store_code<F, Round, 20>(line, scale, min, to + 6 * stride);
      store_code<F, Round, 28>(line, scale, min, to + 7 * stride);
    }
  }
}

// Columns [32 block, 32 block + 32) of a stripe; column k goes to out + k * stride.
template <PackedForm F, bool Round>
inline void expand_block(const PackedLayout& layout, const std::byte* stripe, int64_t block,
                         float* out, int64_t stride) {
  if constexpr (F == PackedForm::q4 || F == PackedForm::q4_min || F == PackedForm::q8) {
    expand_codes<F, Round>(layout, stripe + block / 2 * layout.record_bytes(), block % 2, out,
                           stride);
  } else {
    const std::byte* record = stripe + block * layout.record_bytes();
    for (int j = 0; j < 16; ++j) {
      Floats even;
      Floats odd;
      load_pair<F>(record, j, &even, &odd);
      store(out + 2 * j * stride, Round ? round_bf16(even) : even);
      store(out + (2 * j + 1) * stride, Round ? round_bf16(odd) : odd);
    }
  }
}

// ---- chain sums: few rows over weights where they lie ----

// c[r] += even + odd of 32 columns.
template <PackedForm F, int R>
DUNLIN_INLINE void chain_record(const std::byte* record, const float* x, int64_t x_stride,
                                Floats (&c)[R]) {
  Floats even[R];
  Floats odd[R];
  for (int r = 0; r < R; ++r) even[r] = odd[r] = zero();
#pragma GCC unroll 16
  for (int j = 0; j < 16; ++j) {
    Floats weight_even;
    Floats weight_odd;
    load_pair<F>(record, j, &weight_even, &weight_odd);
    prefetch(record + kPrefetchBytes + (F == PackedForm::f32 ? 128 : 64) * j);
    for (int r = 0; r < R; ++r) {
      even[r] = fma(broadcast(x[r * x_stride + 2 * j]), weight_even, even[r]);
      odd[r] = fma(broadcast(x[r * x_stride + 2 * j + 1]), weight_odd, odd[r]);
    }
  }
  for (int r = 0; r < R; ++r) c[r] = add(c[r], add(even[r], odd[r]));
}

template <PackedForm F, int R>
inline void direct_rows(const LinearArgs& args, int64_t stripe, int64_t row, int64_t row_end) {
  const PackedLayout& layout = args.weight.layout;
  const std::byte* weight = args.weight.data + stripe * layout.stripe_bytes();
  const int64_t stride = float_row_stride(layout.columns);
  for (; row_end - row >= R; row += R) {
    const float* x = reinterpret_cast<const float*>(args.activations) + row * stride;
    Floats c[R];
    for (int r = 0; r < R; ++r) c[r] = zero();
    for (int64_t record = 0; record < layout.records(); ++record) {
      chain_record<F, R>(weight + record * layout.record_bytes(), x + 32 * record, stride, c);
    }
    for (int r = 0; r < R; ++r) write_sum(args, stripe, row + r, c[r]);
  }
  if constexpr (R > 1) direct_rows<F, R / 2>(args, stripe, row, row_end);
}

// ---- chain sums through a panel ----

// c[rows][S * 16] += the panel's blocks, R rows at a time. panel[k][S * 16].
template <int R, int S>
inline void panel_rows(const float* panel, int64_t blocks, const float* x, int64_t x_stride,
                       float* c, int64_t rows) {
  int64_t row = 0;
  for (; rows - row >= R; row += R) {
    const float* x_rows = x + row * x_stride;
    float* c_rows = c + row * S * 16;
    for (int64_t block = 0; block < blocks; ++block) {
      Floats even[R][S];
      Floats odd[R][S];
      for (int r = 0; r < R; ++r) {
        for (int s = 0; s < S; ++s) even[r][s] = odd[r][s] = zero();
      }
      const float* w = panel + block * 32 * S * 16;
      const float* x_block = x_rows + 32 * block;
#pragma GCC unroll 2
      for (int j = 0; j < 16; ++j) {
        Floats weight[S];
        for (int s = 0; s < S; ++s) weight[s] = load(w + (2 * j * S + s) * 16);
        for (int r = 0; r < R; ++r) {
          const Floats value = broadcast(x_block[r * x_stride + 2 * j]);
          for (int s = 0; s < S; ++s) even[r][s] = fma(value, weight[s], even[r][s]);
        }
        for (int s = 0; s < S; ++s) weight[s] = load(w + ((2 * j + 1) * S + s) * 16);
        for (int r = 0; r < R; ++r) {
          const Floats value = broadcast(x_block[r * x_stride + 2 * j + 1]);
          for (int s = 0; s < S; ++s) odd[r][s] = fma(value, weight[s], odd[r][s]);
        }
      }
      for (int r = 0; r < R; ++r) {
        for (int s = 0; s < S; ++s) {
          float* sum = c_rows + (r * S + s) * 16;
          store(sum, add(load(sum), add(even[r][s], odd[r][s])));
        }
      }
    }
  }
  if constexpr (R > 1) {
    panel_rows<R / 2, S>(panel, blocks, x + row * x_stride, x_stride, c + row * S * 16, rows - row);
  }
}

// S stripes from `stripe` on: one panel of `blocks` blocks from `block` on, for `rows` rows; sums
// in c.
template <PackedForm F, bool Round, int S>
inline void panel_step(const LinearArgs& args, int64_t stripe, int64_t block, int64_t blocks,
                       int64_t row, int64_t rows, float* panel, float* c) {
  const PackedLayout& layout = args.weight.layout;
  const int64_t stride = float_row_stride(layout.columns);
  for (int s = 0; s < S; ++s) {
    const std::byte* weight = args.weight.data + (stripe + s) * layout.stripe_bytes();
    for (int64_t b = 0; b < blocks; ++b) {
      expand_block<F, Round>(layout, weight, block + b, panel + b * 32 * S * 16 + 16 * s, S * 16);
    }
  }
  const float* x = reinterpret_cast<const float*>(args.activations) + row * stride + 32 * block;
  panel_rows<kPanelRows, S>(panel, blocks, x, stride, c, rows);
}

template <int S>
inline void write_panel(const LinearArgs& args, int64_t stripe, int64_t row, int64_t rows,
                        const float* c) {
  for (int64_t r = 0; r < rows; ++r) {
    for (int s = 0; s < S; ++s) write_sum(args, stripe + s, row + r, load(c + (r * S + s) * 16));
  }
}

// At most kLinearStripeBlock stripes and kLinearRowBlock rows: columns outside, so that the rows'
// slice stays in L2.
template <PackedForm F, bool Round>
inline void panel_block(const LinearArgs& args, int64_t stripe, int64_t stripe_end, int64_t row,
                        int64_t rows) {
  float* panel = reinterpret_cast<float*>(args.workspace);
  float* sums = panel + kPanelColumns * kPanelStripes * 16;
  const int64_t sum_count = (stripe_end - stripe) * rows * 16;
  for (int64_t i = 0; i < sum_count; i += 16) store(sums + i, zero());
  const int64_t all_blocks = padded_columns(args.weight.layout.columns) / 32;
  for (int64_t block = 0; block < all_blocks; block += kPanelColumns / 32) {
    const int64_t left = all_blocks - block;
    const int64_t blocks = left < kPanelColumns / 32 ? left : kPanelColumns / 32;
    int64_t s = stripe;
    for (; stripe_end - s >= kPanelStripes; s += kPanelStripes) {
      panel_step<F, Round, kPanelStripes>(args, s, block, blocks, row, rows, panel,
                                          sums + (s - stripe) * rows * 16);
    }
    for (; s < stripe_end; ++s) {
      panel_step<F, Round, 1>(args, s, block, blocks, row, rows, panel,
                              sums + (s - stripe) * rows * 16);
    }
  }
  int64_t s = stripe;
  for (; stripe_end - s >= kPanelStripes; s += kPanelStripes) {
    write_panel<kPanelStripes>(args, s, row, rows, sums + (s - stripe) * rows * 16);
  }
  for (; s < stripe_end; ++s) write_panel<1>(args, s, row, rows, sums + (s - stripe) * rows * 16);
}

template <PackedForm F, bool Round>
void linear_floats(const LinearArgs& args) noexcept {
  if constexpr (F == PackedForm::f32 || (F == PackedForm::bf16)) {
    if (args.row_end - args.row_begin <= kDirectRows) {
      for (int64_t stripe = args.stripe_begin; stripe < args.stripe_end; ++stripe) {
        direct_rows<F, kDirectRows>(args, stripe, args.row_begin, args.row_end);
      }
      return;
    }
  }
  for (int64_t row = args.row_begin; row < args.row_end; row += kLinearRowBlock) {
    const int64_t left = args.row_end - row;
    const int64_t rows = left < kLinearRowBlock ? left : kLinearRowBlock;
    for (int64_t stripe = args.stripe_begin; stripe < args.stripe_end;
         stripe += kLinearStripeBlock) {
      const int64_t end = stripe + kLinearStripeBlock;
      panel_block<F, Round>(args, stripe, end < args.stripe_end ? end : args.stripe_end, row, rows);
    }
  }
}

// ---- int8 ----

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

// acc[r] = fma(float(sum q * code), ws * s, acc[r]); `offset_sum` is what the stored codes are too
// large by, times q.
template <int R>
DUNLIN_INLINE void add_group(Ints dot, int32_t offset_sum, Floats weight_scale, float scale,
                             Floats* acc) {
  const Floats value = to_floats(sub(dot, broadcast_int(offset_sum)));
  *acc = fma(value, mul(weight_scale, broadcast(scale)), *acc);
}

// One group of 32 columns of a 4-bit form.
template <PackedForm F, int R>
DUNLIN_INLINE void int8_group_q4(const PackedLayout& layout, const std::byte* record, int64_t half,
                                 const Int8Activations<R>& x, int64_t g, Floats (&acc)[R]) {
  const std::byte* scales = record + 512;
  Ints dot[R];
  dot_q4<R>(record + 256 * half, x.codes + 32 * g, x.stride, dot);
  const Floats weight_scale = load_scale(layout.scale, scales, half);
  for (int r = 0; r < R; ++r) {
    const int32_t offset_sum = F == PackedForm::q4 ? 8 * x.sum(r, g) : 0;
    add_group<R>(dot[r], offset_sum, weight_scale, x.scale(r, g), &acc[r]);
  }
  if constexpr (F == PackedForm::q4_min) {
    const Floats weight_min = load_scale(layout.scale, scales + layout.scale_bytes(), half);
    for (int r = 0; r < R; ++r) {
      const Floats sum = broadcast(static_cast<float>(x.sum(r, g)));
      acc[r] = fma(sum, mul(weight_min, broadcast(x.scale(r, g))), acc[r]);
    }
  }
}

template <int R>
DUNLIN_INLINE void int8_group_q8(const PackedLayout& layout, const std::byte* record, int64_t half,
                                 const Int8Activations<R>& x, int64_t g, Floats (&acc)[R]) {
  const std::byte* lines = record + 512 * half;
  const std::byte* scales = record + 1024;
  constexpr int32_t kOffset = kQ8Unsigned ? 128 : 0;
  Ints dot[R];
  if (layout.group == 32) {
    dot_q8<R, 8>(lines, x.codes + 32 * g, x.stride, dot);
    const Floats weight_scale = load_scale(layout.scale, scales, half);
    for (int r = 0; r < R; ++r) {
      add_group<R>(dot[r], kOffset * x.sum(r, g), weight_scale, x.scale(r, g), &acc[r]);
    }
    return;
  }
  for (int64_t part = 0; part < 2; ++part) {
    dot_q8<R, 4>(lines + 256 * part, x.codes + 32 * g + 16 * part, x.stride, dot);
    const Floats weight_scale = load_scale(layout.scale, scales, 2 * half + part);
    for (int r = 0; r < R; ++r) {
      add_group<R>(dot[r], kOffset * x.half_sum(r, 2 * g + part), weight_scale, x.scale(r, g),
                   &acc[r]);
    }
  }
}

template <PackedForm F, int R>
inline void int8_rows(const LinearArgs& args, int64_t stripe, int64_t row, int64_t row_end) {
  const PackedLayout& layout = args.weight.layout;
  const Int8RowLayout rows(layout.columns);
  for (; row_end - row >= R; row += R) {
    const std::byte* x = args.activations + row * rows.row_bytes;
    const Int8Activations<R> activations{
        reinterpret_cast<const int8_t*>(x), reinterpret_cast<const float*>(x + rows.scales),
        reinterpret_cast<const int32_t*>(x + rows.sums),
        reinterpret_cast<const int32_t*>(x + rows.half_sums), rows.row_bytes};
    const std::byte* record = args.weight.data + stripe * layout.stripe_bytes();
    const int64_t record_bytes = layout.record_bytes();
    Floats acc[R];
    for (int r = 0; r < R; ++r) acc[r] = zero();
    for (int64_t g = 0; g < rows.groups; ++g) {
      const int64_t half = g % 2;
      // Half of a record ahead at a time: a burst of requests would hold up the loads that compute
      // waits for.
      for (int64_t at = half * (record_bytes / 2); at < (half + 1) * (record_bytes / 2); at += 64) {
        prefetch(record + kPrefetchBytes + at);
      }
      if constexpr (F == PackedForm::q8) {
        int8_group_q8<R>(layout, record, half, activations, g, acc);
      } else {
        int8_group_q4<F, R>(layout, record, half, activations, g, acc);
      }
      if (half == 1) record += record_bytes;
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
