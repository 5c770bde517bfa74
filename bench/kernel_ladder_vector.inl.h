// Steps over the packed layout, sixteen channels in a vector. Included inside the namespace and target
// region of an instruction set, after vector/records.inl.h, vector/linear.inl.h and vector/int8.inl.h.

constexpr PackedForm kLadderForm = PackedForm::q4;
using LadderRecords = Records<kLadderForm>;

template <bool Burst>
void gemv_stripes(const ladder::GemvArgs& args) noexcept {
  const PackedLayout& layout = args.packed.layout;
  const LadderRecords records = LadderRecords::of(layout);
  const int64_t blocks = args.columns / 32;
  const int64_t record_blocks = int64_t{1} << records.shift;
  for (int64_t stripe = 0; stripe < args.channels / kStripeRows; ++stripe) {
    const std::byte* record = args.packed.data + stripe * layout.stripe_bytes();
    Int8Rows<1> x{reinterpret_cast<const Int8Tile<1>*>(args.activations), 0};
    Floats sums[1] = {zero()};
    for (int64_t block = 0; block < blocks; block += record_blocks) {
      if constexpr (Burst) {
        for (int64_t at = 0; at < records.bytes; at += 64) prefetch(record + kPrefetchBytes + at);
      }
      const RecordScales<kLadderForm> scales = RecordScales<kLadderForm>::of(records, record);
      for (int64_t i = 0; i < record_blocks; ++i, ++x.tile) {
        const BlockCodes<kLadderForm> codes = BlockCodes<kLadderForm>::of(records, record, i);
        int8_group<kLadderForm, 1, 1, 0, 8>(scales, codes, i, x, sums);
      }
      record += records.bytes;
    }
    store(args.y + kStripeRows * stripe, sums[0]);
  }
}

inline void gemm_each_row(const ladder::GemmArgs& args) noexcept {
  const PackedLayout& layout = args.packed.layout;
  const LadderRecords records = LadderRecords::of(layout);
  const int64_t blocks = args.columns / 32;
  const int64_t stride = float_row_stride(args.columns);
  alignas(64) float columns[32 * 16];
  for (int64_t stripe = 0; stripe < args.channels / kStripeRows; ++stripe) {
    const std::byte* const weight = args.packed.data + stripe * layout.stripe_bytes();
    for (int64_t row = 0; row < args.rows; ++row) {
      Floats sum = zero();
      for (int64_t block = 0; block < blocks; ++block) {
        expand_block<kLadderForm, true>(records, weight, block, columns, 16);
        const float* const x = args.x + row * stride + 32 * block;
        Floats even = zero();
        Floats odd = zero();
        for (int64_t j = 0; j < 16; ++j) {
          even = fma(broadcast(x[2 * j]), load(columns + 32 * j), even);
          odd = fma(broadcast(x[2 * j + 1]), load(columns + 32 * j + 16), odd);
        }
        sum = add(sum, add(even, odd));
      }
      store(args.y + row * args.y_stride + kStripeRows * stripe, sum);
    }
  }
}

// S stripes of all columns are a panel, which R rows at a time go over.
template <int R, int S>
void gemm_panels(const ladder::GemmArgs& args) noexcept {
  const PackedLayout& layout = args.packed.layout;
  const LadderRecords records = LadderRecords::of(layout);
  const int64_t blocks = args.columns / 32;
  float* const panel = reinterpret_cast<float*>(args.workspace);  // [columns][S * 16]
  float* const sums = panel + args.columns * S * 16;              // [rows][S * 16]
  for (int64_t stripe = 0; stripe < args.channels / kStripeRows; stripe += S) {
    for (int s = 0; s < S; ++s) {
      const std::byte* const weight = args.packed.data + (stripe + s) * layout.stripe_bytes();
      for (int64_t block = 0; block < blocks; ++block) {
        expand_block<kLadderForm, true>(records, weight, block,
                                        panel + block * 32 * S * 16 + 16 * s, S * 16);
      }
    }
    for (int64_t i = 0; i < args.rows * S; ++i) store(sums + 16 * i, zero());
    panel_rows<R, S>(panel, blocks, args.x, float_row_stride(args.columns), sums, args.rows);
    for (int64_t row = 0; row < args.rows; ++row) {
      for (int s = 0; s < S; ++s) {
        store(args.y + row * args.y_stride + kStripeRows * (stripe + s),
              load(sums + (row * S + s) * 16));
      }
    }
  }
}

// As many sums as the rows of a panel have.
constexpr int kPeakChains = 2 * kPanelRows * kPanelStripes;

inline void multiply_add_chains(int64_t steps, float factor, float summand, float* sums) noexcept {
  const Floats times = broadcast(factor);
  const Floats plus = broadcast(summand);
  Floats chains[kPeakChains];
  for (int i = 0; i < kPeakChains; ++i) chains[i] = load(sums + 16 * i);
  for (int64_t step = 0; step < steps; ++step) {
#pragma GCC unroll 32
    for (int i = 0; i < kPeakChains; ++i) chains[i] = fma(chains[i], times, plus);
  }
  for (int i = 0; i < kPeakChains; ++i) store(sums + 16 * i, chains[i]);
}
