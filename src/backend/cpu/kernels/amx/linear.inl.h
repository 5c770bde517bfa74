// The bf16 and int8wide arithmetic of linear on AMX tiles: TDPBF16PS is the chain sum of 32 columns
// for 16 rows x 16 channels (docs/decisions/0002-numerics.md, "Sums"), TDPBSUD the exact sum of 64.
// Included inside the namespace and target region of an instruction set, after the AVX-512 interface,
// vector/linear.inl.h and vector/wide_rows.inl.h; `Tiles` is amx/tiles.h or an emulation.
//
// From kTileRows rows on, activations are tiles: row block of 16, then 32 columns of bf16 or 64 codes,
// 1 KB each, 64 bytes per row; rows that fill the last block are zero in bf16, and in int8wide anything.
// Fewer rows are AVX-512's business (a tile of one row does a sixteenth of its work).

constexpr int64_t kTileRows = 16;
constexpr int64_t kTileBytes = 1024;
// 256 columns of bf16, 512 codes: weights of two stripes are 16 KB and stay in L1. The sums of 512 rows and
// kTileStripeBlock stripes are 512 KB, the rows' part of a step 256 KB: together they stay in the half of an
// L2 of 2 MB that serves tiles at speed. Rows come from the third level once for all those stripes.
constexpr int64_t kStepBlocks = 8;
// Lines of 64 bytes that are asked for with each block of products: in a step all of four sums, and a tile of
// each row block.
constexpr int64_t kSumLines = 4 * kTileBytes / 64 / kStepBlocks;
constexpr int64_t kRowLines = kTileBytes / 64 / kStepBlocks;

// Tiles of a row block, or of a stripe.
template <PackedForm F>
DUNLIN_INLINE int64_t tile_blocks(const PackedLayout& layout) {
  if constexpr (F == PackedForm::wide) return wide_blocks(layout.columns);
  return padded_columns(layout.columns) / 32;
}

template <PackedForm F>
DUNLIN_INLINE const std::byte* row_tile(const LinearArgs& args, int64_t row_block, int64_t block) {
  const int64_t tiles_at = F == PackedForm::wide ? wide_tiles_at(args.rows) : 0;
  const int64_t blocks = tile_blocks<F>(args.weight.layout);
  return args.activations + tiles_at + (row_block * blocks + block) * kTileBytes;
}

DUNLIN_INLINE Ints pack_pairs(Floats even, Floats odd) {
  return bit_or(shift_right<16>(as_ints(even)), bit_and(as_ints(odd), broadcast_int(-65536)));
}

// 32 values, of which the first `count` are at x and the others zero, as a row of a bf16 tile.
DUNLIN_INLINE void store_tile_row(const float* x, int64_t count, std::byte* line) {
  float values[32];
  for (int64_t half = 0; half < 2; ++half) {
    const int64_t left = count - 16 * half;
    store(values + 16 * half, left <= 0 ? zero() : round_bf16(load_first(x + 16 * half, left)));
  }
  Floats even;
  Floats odd;
  load_pairs(values, &even, &odd);
  store(reinterpret_cast<float*>(line), as_floats(pack_pairs(even, odd)));
}

inline void prepare_tiles(const PrepareArgs& args) noexcept {
  const int64_t blocks = padded_columns(args.columns) / 32;
  const int64_t row_end = args.row_end == args.rows ? (args.rows + 15) / 16 * 16 : args.row_end;
  for (int64_t row = args.row_begin; row < row_end; ++row) {
    const float* x = args.x + (row - args.x_row) * args.x_stride;
    std::byte* lines = args.out + row / 16 * blocks * kTileBytes + row % 16 * 64;
    for (int64_t block = 0; block < blocks; ++block) {
      const int64_t left = row < args.rows ? args.columns - 32 * block : 0;
      store_tile_row(x + 32 * block, left, lines + block * kTileBytes);
    }
  }
}

// Weight tiles `block` .. of a stripe: in place for bf16 and wide, else expanded into `tiles`.
template <PackedForm F>
DUNLIN_INLINE const std::byte* weight_tiles(const PackedLayout& layout, const std::byte* stripe,
                                            int64_t block, int64_t blocks, std::byte* tiles) {
  if constexpr (F == PackedForm::bf16 || F == PackedForm::wide) {
    return stripe + layout.records_at() + block * kTileBytes;
  } else {
    const Records<F> records = Records<F>::of(layout);
    for (int64_t b = 0; b < blocks; ++b) {
      float values[32 * 16];
      expand_block<F, true>(records, stripe, block + b, values, 16);
      for (int j = 0; j < 16; ++j) {
        const Ints pairs = pack_pairs(load(values + 32 * j), load(values + 32 * j + 16));
        store(reinterpret_cast<float*>(tiles + b * kTileBytes + 64 * j), as_floats(pairs));
      }
    }
    return tiles;
  }
}

template <typename Tiles, bool Bytes, int Row, int Stripe>
DUNLIN_INLINE void add_product() {
  if constexpr (Bytes) {
    Tiles::template dot_bytes<Row, Stripe>();
  } else {
    Tiles::template dot_bf16<Row, Stripe>();
  }
}

// What is asked for while products are under way: the sums that come next into L1, and tiles of the next
// step's columns into L2. Both together brought 15 to 45 % in a prototype of this blocking, which is not kept;
// of this kernel it was not measured.
struct TilesAhead {
  const std::byte* sums = nullptr;  // kSumLines for each block; null: nothing is asked for
  const std::byte* rows[2] = {};    // of each row block kRowLines for each block; null: none
};

template <typename Tiles, int R>
DUNLIN_INLINE void ask_ahead(const TilesAhead& ahead, int64_t block) {
  if (ahead.sums == nullptr) return;
  for (int64_t line = 0; line < kSumLines; ++line)
    Tiles::prefetch_l1(ahead.sums + (block * kSumLines + line) * 64);
  for (int r = 0; r < R; ++r) {
    if (ahead.rows[r] == nullptr) continue;
    for (int64_t line = 0; line < kRowLines; ++line)
      Tiles::prefetch_l2(ahead.rows[r] + (block * kRowLines + line) * 64);
  }
}

// Sum tiles 2 r + s += sums over `blocks` tiles of R row blocks and S stripes, the tiles of each 1 KB
// apart: of bf16, or of bytes.
template <typename Tiles, int R, int S, bool Bytes = false>
DUNLIN_INLINE void add_products(const std::byte* const (&rows)[2],
                                const std::byte* const (&weights)[2], int64_t blocks,
                                const TilesAhead& ahead = {}) {
  for (int64_t b = 0; b < blocks; ++b) {
    ask_ahead<Tiles, R>(ahead, b);
    Tiles::template load<4>(rows[0] + b * kTileBytes);
    Tiles::template load<6>(weights[0] + b * kTileBytes);
    add_product<Tiles, Bytes, 0, 0>();
    if constexpr (S == 2) {
      Tiles::template load<7>(weights[1] + b * kTileBytes);
      add_product<Tiles, Bytes, 0, 1>();
    }
    if constexpr (R == 2) {
      Tiles::template load<5>(rows[1] + b * kTileBytes);
      add_product<Tiles, Bytes, 1, 0>();
      if constexpr (S == 2) add_product<Tiles, Bytes, 1, 1>();
    }
  }
}

template <typename Tiles, int R, int S>
DUNLIN_INLINE void zero_sums() {
  Tiles::template zero<0>();
  if constexpr (S == 2) Tiles::template zero<1>();
  if constexpr (R == 2) Tiles::template zero<2>();
  if constexpr (R == 2 && S == 2) Tiles::template zero<3>();
}

// Sum tiles of R x S to memory: row blocks row_step bytes apart, stripes stripe_step, lines of a
// tile `stride`.
template <typename Tiles, int R, int S>
DUNLIN_INLINE void store_sums(std::byte* sums, int64_t row_step, int64_t stripe_step,
                              int64_t stride) {
  Tiles::template store<0>(sums, stride);
  if constexpr (S == 2) Tiles::template store<1>(sums + stripe_step, stride);
  if constexpr (R == 2) Tiles::template store<2>(sums + row_step, stride);
  if constexpr (R == 2 && S == 2) Tiles::template store<3>(sums + row_step + stripe_step, stride);
}

// Sums of R row blocks x S stripes (tiles at sums + (r * S + s) KB) plus `blocks` blocks. The next sums lie
// behind them. `next_block` is a tile of the next step's columns, or negative.
template <typename Tiles, PackedForm F, int R, int S>
DUNLIN_INLINE void tile_step(const LinearArgs& args, int64_t row_block, int64_t block,
                             int64_t blocks, const std::byte* const (&weights)[2], std::byte* sums,
                             int64_t next_block) {
  if (block == 0) {
    zero_sums<Tiles, R, S>();
  } else {
    Tiles::template load<0>(sums);
    if constexpr (S == 2) Tiles::template load<1>(sums + kTileBytes);
    if constexpr (R == 2) Tiles::template load<2>(sums + S * kTileBytes);
    if constexpr (R == 2 && S == 2) Tiles::template load<3>(sums + 3 * kTileBytes);
  }
  const std::byte* const rows[2] = {row_tile<F>(args, row_block, block),
                                    R == 2 ? row_tile<F>(args, row_block + 1, block) : nullptr};
  TilesAhead ahead{.sums = sums + R * S * kTileBytes};
  for (int r = 0; r < R && next_block >= 0; ++r)
    ahead.rows[r] = row_tile<F>(args, row_block + r, next_block);
  add_products<Tiles, R, S, F == PackedForm::wide>(rows, weights, blocks, ahead);
  store_sums<Tiles, R, S>(sums, S * kTileBytes, kTileBytes, 64);
}

// S stripes x row blocks [first, last) over one step of columns. Sum tiles: row block, then stripe.
// `next_block`: as tile_step() has it.
template <typename Tiles, PackedForm F, int S>
inline void tile_rows(const LinearArgs& args, int64_t stripe, int64_t block, int64_t blocks,
                      int64_t first, int64_t last, int64_t next_block, std::byte* panel,
                      std::byte* sums) {
  const PackedLayout& layout = args.weight.layout;
  const std::byte* weights[2] = {};
  for (int s = 0; s < S; ++s) {
    const std::byte* packed = args.weight.data + (stripe + s) * layout.stripe_bytes();
    std::byte* tiles = panel + s * kStepBlocks * kTileBytes;
    weights[s] = weight_tiles<F>(layout, packed, block, blocks, tiles);
  }
  int64_t row_block = first;
  for (; last - row_block >= 2; row_block += 2) {
    tile_step<Tiles, F, 2, S>(args, row_block, block, blocks, weights,
                              sums + (row_block - first) * S * kTileBytes, next_block);
  }
  if (row_block < last) {
    tile_step<Tiles, F, 1, S>(args, row_block, block, blocks, weights,
                              sums + (row_block - first) * S * kTileBytes, next_block);
  }
}

template <PackedForm F, int S>
inline void write_tiles(const LinearArgs& args, int64_t stripe, int64_t row, int64_t rows,
                        const std::byte* sums) {
  for (int64_t r = 0; r < rows; ++r) {
    for (int s = 0; s < S; ++s) {
      const std::byte* line = sums + (r / 16 * S + s) * kTileBytes + r % 16 * 64;
      if constexpr (F == PackedForm::wide) {
        write_wide_sum<true>(args, stripe + s, row + r, load_ints(line));
      } else {
        write_sum(args, stripe + s, row + r, load(reinterpret_cast<const float*>(line)));
      }
    }
  }
}

// The tile of the next step of columns that pair number `pair` of the stripes asks for, of each of its
// rows: eight pairs ask for a step's eight. Negative: none. The last step asks for the first one's, which the
// next stripes begin with.
DUNLIN_INLINE int64_t next_tile(int64_t pair, int64_t block, int64_t all_blocks) {
  const int64_t next = block + kStepBlocks < all_blocks ? block + kStepBlocks : 0;
  return pair < kStepBlocks && next + pair < all_blocks ? next + pair : -1;
}

// At most kTileStripeBlock stripes and kLinearRowBlock rows.
template <typename Tiles, PackedForm F>
inline void tile_block(const LinearArgs& args, int64_t stripe, int64_t stripe_end, int64_t row,
                       int64_t rows) {
  std::byte* panel = args.workspace;
  std::byte* sums = panel + 2 * kStepBlocks * kTileBytes;
  const int64_t first = row / 16;
  const int64_t last = (row + rows + 15) / 16;
  const int64_t stripe_sums = (last - first) * kTileBytes;
  const int64_t all_blocks = tile_blocks<F>(args.weight.layout);
  for (int64_t block = 0; block < all_blocks; block += kStepBlocks) {
    const int64_t blocks = all_blocks - block < kStepBlocks ? all_blocks - block : kStepBlocks;
    int64_t s = stripe;
    for (; stripe_end - s >= 2; s += 2) {
      const int64_t next = next_tile((s - stripe) / 2, block, all_blocks);
      tile_rows<Tiles, F, 2>(args, s, block, blocks, first, last, next, panel,
                             sums + (s - stripe) * stripe_sums);
    }
    if (s < stripe_end) {
      const int64_t next = next_tile((s - stripe) / 2, block, all_blocks);
      tile_rows<Tiles, F, 1>(args, s, block, blocks, first, last, next, panel,
                             sums + (s - stripe) * stripe_sums);
    }
  }
  int64_t s = stripe;
  for (; stripe_end - s >= 2; s += 2)
    write_tiles<F, 2>(args, s, row, rows, sums + (s - stripe) * stripe_sums);
  if (s < stripe_end) write_tiles<F, 1>(args, s, row, rows, sums + (s - stripe) * stripe_sums);
}

template <typename Tiles, PackedForm F>
inline void linear_tiles(const LinearArgs& args) noexcept {
  Tiles::configure_full();
  static_assert(2 * kStepBlocks * kTileBytes + kTileStripeBlock * kLinearRowBlock * 64 <=
                kLinearWorkspaceBytes);
  for_linear_blocks<kTileStripeBlock>(args, [&args](int64_t stripe, int64_t stripe_end, int64_t row,
                                                    int64_t rows) DUNLIN_ALWAYS_INLINE {
    tile_block<Tiles, F>(args, stripe, stripe_end, row, rows);
  });
  Tiles::release();
}
