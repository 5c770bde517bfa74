// The f32 and bf16 arithmetic of linear, sixteen channels per vector
// (docs/decisions/0002-numerics.md, "Arithmetic of linear"). Included inside the namespace and
// target region of an instruction set, after records.inl.h; int8.inl.h follows.
//
// Both are one kernel: chain sums over float32 activations that prepare has rounded, or not. Few
// rows read values and mxfp4 where they lie; many rows, and integer weights, go through a panel of
// kPanelStripes stripes x kPanelColumns columns that is expanded to float32 once for up to
// kLinearRowBlock rows.

constexpr int64_t kPanelColumns =
    256;  // panel of 32 channels: 32 KB, with the rows' 6 KB within a 48 KB L1

// Calls f(stripe, stripe_end, row, rows) for each part of at most `Stripes` stripes and
// kLinearRowBlock rows. Rows outside: a block of them stays in L2 while the stripes go by.
template <int64_t Stripes = kLinearStripeBlock, typename F>
DUNLIN_INLINE void for_linear_blocks(const LinearArgs& args, const F& f) {
  for (int64_t row = args.row_begin; row < args.row_end; row += kLinearRowBlock) {
    const int64_t left = args.row_end - row;
    const int64_t rows = left < kLinearRowBlock ? left : kLinearRowBlock;
    for (int64_t stripe = args.stripe_begin; stripe < args.stripe_end; stripe += Stripes) {
      const int64_t end = stripe + Stripes;
      f(stripe, end < args.stripe_end ? end : args.stripe_end, row, rows);
    }
  }
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

// ---- chain sums: few rows over weights where they lie ----

// c[r] += even + odd of 32 columns; load(j, &even, &odd) has the weights of columns 2j and 2j + 1.
template <int R, typename Load>
DUNLIN_INLINE void chain_pairs(const Load& load, const float* x, int64_t x_stride, Floats (&c)[R]) {
  Floats even[R];
  Floats odd[R];
  for (int r = 0; r < R; ++r) even[r] = odd[r] = zero();
#pragma GCC unroll 16
  for (int j = 0; j < 16; ++j) {
    Floats weight_even;
    Floats weight_odd;
    load(j, &weight_even, &weight_odd);
    for (int r = 0; r < R; ++r) {
      even[r] = fma(broadcast(x[r * x_stride + 2 * j]), weight_even, even[r]);
      odd[r] = fma(broadcast(x[r * x_stride + 2 * j + 1]), weight_odd, odd[r]);
    }
  }
  for (int r = 0; r < R; ++r) c[r] = add(c[r], add(even[r], odd[r]));
}

template <PackedForm F, int R>
DUNLIN_INLINE void chain_record(const std::byte* record, int64_t prefetch_bytes, const float* x,
                                int64_t x_stride, Floats (&c)[R]) {
  const std::byte* const ahead = record + prefetch_bytes;
  const auto load = [record, ahead](int j, Floats* even, Floats* odd) DUNLIN_ALWAYS_INLINE {
    load_pair<F>(record, j, even, odd);
    prefetch(ahead + (F == PackedForm::f32 ? 128 : 64) * j);
  };
  chain_pairs(load, x, x_stride, c);
}

template <PackedForm F, int R>
inline void direct_rows(const LinearArgs& args, int64_t stripe, int64_t row, int64_t row_end) {
  constexpr int64_t kBytes = F == PackedForm::f32 ? 2048 : 1024;  // of a record
  const PackedLayout& layout = args.weight.layout;
  const std::byte* weight = args.weight.data + stripe * layout.stripe_bytes();
  const int64_t stride = float_row_stride(layout.columns);
  const int64_t records = layout.records();
  for (; row_end - row >= R; row += R) {
    const float* x = reinterpret_cast<const float*>(args.activations) + row * stride;
    Floats c[R];
    for (int r = 0; r < R; ++r) c[r] = zero();
    for (int64_t record = 0; record < records; ++record)
      chain_record<F, R>(weight + record * kBytes, args.prefetch_bytes, x + 32 * record, stride, c);
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
  const Records<F> records = Records<F>::of(layout);
  const int64_t stride = float_row_stride(layout.columns);
  for (int s = 0; s < S; ++s) {
    const std::byte* weight = args.weight.data + (stripe + s) * layout.stripe_bytes();
    for (int64_t b = 0; b < blocks; ++b) {
      expand_block<F, Round>(records, weight, block + b, panel + b * 32 * S * 16 + 16 * s, S * 16);
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

// ---- mxfp4: few rows over weights where they lie ----

// Whether sums of a row may be scaled once per block instead of every weight: neither way can a
// product or a sum of a block leave the normal numbers, between which a power of two is exact. A
// row's sums are multiples of 2^-25 of its smallest value, and at most 384 times its largest.
DUNLIN_INLINE bool scales_exactly(const float* row_end, const std::byte* stripe) {
  const float least = 0x1p-100f;
  const float most = 0x1p100f;
  const float smallest = row_end[kRowSmallest];
  const float largest = row_end[kRowLargest];
  const Mxfp4Range& scales = *reinterpret_cast<const Mxfp4Range*>(stripe);
  return smallest >= least && largest <= most && smallest * scales.smallest >= least &&
         largest * scales.largest <= most;
}

// c[r] += the chain sums of 32 columns.
template <bool ScaleSums, int R>
DUNLIN_INLINE void chain_mxfp4(const std::byte* lines, Floats scale, const float* x,
                               int64_t x_stride, Floats (&c)[R]) {
  Floats even[R];
  Floats odd[R];
  for (int r = 0; r < R; ++r) even[r] = odd[r] = zero();
  for (int64_t j = 0; j < 4; ++j) {
    const Ints line = load_ints(lines + 64 * j);
    for_eight([&]<int C>() DUNLIN_ALWAYS_INLINE {
      Floats weight = fp4_values<C>(line);
      if constexpr (!ScaleSums) weight = mul(weight, scale);
      for (int r = 0; r < R; ++r) {
        const Floats value = broadcast(x[r * x_stride + 8 * j + C]);
        if constexpr (C % 2 == 0) even[r] = fma(value, weight, even[r]);
        if constexpr (C % 2 == 1) odd[r] = fma(value, weight, odd[r]);
      }
    });
  }
  for (int r = 0; r < R; ++r) {
    const Floats sum = add(even[r], odd[r]);
    c[r] = ScaleSums ? fma(sum, scale, c[r]) : add(c[r], sum);
  }
}

template <bool ScaleSums, int R>
DUNLIN_INLINE void direct_mxfp4(const LinearArgs& args, int64_t stripe, int64_t row) {
  const PackedLayout& layout = args.weight.layout;
  const Records<PackedForm::mxfp4> records = Records<PackedForm::mxfp4>::of(layout);
  const std::byte* weight = args.weight.data + stripe * layout.stripe_bytes();
  const int64_t stride = float_row_stride(layout.columns);
  const float* x = reinterpret_cast<const float*>(args.activations) + row * stride;
  const int64_t blocks = padded_columns(layout.columns) / 32;
  const int64_t prefetch_bytes = args.prefetch_bytes;
  Floats c[R];
  for (int r = 0; r < R; ++r) c[r] = zero();
  for (int64_t block = 0; block < blocks; ++block) {
    const std::byte* record = records.record(weight, block);
    const int64_t half = records.within(block);
    const std::byte* lines = record + 256 * half;
    const std::byte* ahead = lines + prefetch_bytes;
    for (int64_t at = 0; at < 256 + 32 * half; at += 64) prefetch(ahead + at);
    chain_mxfp4<ScaleSums, R>(lines, load_e8m0(record + 512 + 16 * half), x + 32 * block, stride,
                              c);
  }
  for (int r = 0; r < R; ++r) write_sum(args, stripe, row + r, c[r]);
}

template <int R>
inline void mxfp4_rows(const LinearArgs& args, int64_t stripe, int64_t row, int64_t row_end) {
  const PackedLayout& layout = args.weight.layout;
  const std::byte* weight = args.weight.data + stripe * layout.stripe_bytes();
  const int64_t stride = float_row_stride(layout.columns);
  for (; row_end - row >= R; row += R) {
    bool exactly = true;
    for (int r = 0; r < R; ++r) {
      const float* row_start =
          reinterpret_cast<const float*>(args.activations) + (row + r) * stride;
      exactly = exactly && scales_exactly(row_start + padded_columns(layout.columns), weight);
    }
    if (exactly) {
      direct_mxfp4<true, R>(args, stripe, row);
    } else {
      direct_mxfp4<false, R>(args, stripe, row);
    }
  }
  if constexpr (R > 1) mxfp4_rows<R / 2>(args, stripe, row, row_end);
}

template <PackedForm F, bool Round>
void linear_floats(const LinearArgs& args) noexcept {
  if constexpr (F == PackedForm::f32 || F == PackedForm::bf16 || F == PackedForm::mxfp4) {
    if (args.row_end - args.row_begin <= kDirectRows) {
      for (int64_t stripe = args.stripe_begin; stripe < args.stripe_end; ++stripe) {
        if constexpr (F == PackedForm::mxfp4) {
          mxfp4_rows<kDirectRows>(args, stripe, args.row_begin, args.row_end);
        } else {
          direct_rows<F, kDirectRows>(args, stripe, args.row_begin, args.row_end);
        }
      }
      return;
    }
  }
  for_linear_blocks(args, [&args](int64_t stripe, int64_t stripe_end, int64_t row, int64_t rows)
                              DUNLIN_ALWAYS_INLINE {
                                panel_block<F, Round>(args, stripe, stripe_end, row, rows);
                              });
}
