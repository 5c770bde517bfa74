// The int8 arithmetic of linear on AMX tiles: TDPBSSD gives the exact sums of a weight group for 16
// rows x 16 channels; the fused multiply-adds behind it are those of vector/int8.inl.h
// (docs/decisions/0002-numerics.md, "Arithmetic of linear"). Included inside the namespace and
// target region of an instruction set, after vector/linear.inl.h and vector/quantise.inl.h; `Tiles`
// is amx/tiles.h or an emulation.
//
// Activations are Int8Tile<16>; rows that fill the last are zero. The products of a group wait in
// memory while the next two groups are under way, as the multiply-adds of a group take longer than
// its tile instructions.

// 512 columns: two row blocks, the expanded weights and their scales are 36 KB of a 48 KB L1.
constexpr int64_t kChunkBlocks = 16;
constexpr int64_t kGroupsInFlight = 2;
using RowTile = Int8Tile<16>;

inline void prepare_row_tiles(const PrepareArgs& args) noexcept {
  prepare_int8_tiles<16>(args);
  if (args.row_end != args.rows) return;
  const float zeros[32] = {};
  const int64_t blocks = args.columns / 32;
  RowTile* tiles = reinterpret_cast<RowTile*>(args.out) + args.rows / 16 * blocks;
  for (int64_t row = args.rows; row % 16 != 0; ++row) {
    for (int64_t block = 0; block < blocks; ++block)
      fill_int8_row<16>(zeros, row % 16, tiles + block);
  }
}

// Bytes as stored to signed codes.
template <PackedForm F>
DUNLIN_INLINE Ints signed_codes(Ints stored) {
  constexpr int32_t kOffset = code_offset(F);
  if constexpr (kOffset == 0) {
    return stored;
  } else {
    const Ints top = broadcast_int(static_cast<int32_t>(0x80808080u));
    if constexpr (kOffset == 128) {
      return bit_xor(stored, top);
    } else {  // a byte with its top bit set borrows nothing from its neighbour
      return bit_xor(sub(bit_or(stored, top), broadcast_int(kOffset * 0x01010101)), top);
    }
  }
}

// A worker's memory. Weights of one stripe and at most kChunkBlocks blocks:
struct Int8Chunk {
  std::byte* codes;     // 512 bytes per block: 8 rows of 16 channels x 4 codes
  float* scales;        // [groups][16]
  float* mins;          // [groups][16]
  std::byte* products;  // four tiles of exact sums
  float* sums;          // [stripes][rows][16], unfinished

  static DUNLIN_INLINE Int8Chunk in(std::byte* workspace) {
    std::byte* scales = workspace + kChunkBlocks * 512;
    std::byte* mins = scales + 2 * kChunkBlocks * 64;
    std::byte* products = mins + 2 * kChunkBlocks * 64;
    return {workspace, reinterpret_cast<float*>(scales), reinterpret_cast<float*>(mins), products,
            reinterpret_cast<float*>(products + 4 * 1024)};
  }
};
static_assert(kChunkBlocks * (512 + 4 * 64) + 4 * 1024 +
                  kLinearStripeBlock * kLinearRowBlock * 64 <=
              kLinearWorkspaceBytes);

template <PackedForm F>
inline void expand_chunk(const Records<F>& records, const std::byte* stripe, int64_t block,
                         int64_t blocks, const Int8Chunk& chunk) {
  for (int64_t b = 0; b < blocks; ++b) {
    const std::byte* record = records.record(stripe, block + b);
    const int64_t within = records.within(block + b);
    const RecordScales<F> scales = RecordScales<F>::of(records, record);
    const BlockCodes<F> codes = BlockCodes<F>::of(records, record, within);
    float* to = reinterpret_cast<float*>(chunk.codes + 512 * b);
    for_eight([&]<int C>() DUNLIN_ALWAYS_INLINE {
      store(to + 16 * C, as_floats(signed_codes<F>(codes.template four<C>())));
    });
    for (int64_t i = 0; i < records.groups; ++i) {
      const int64_t group = records.groups * within + i;
      const int64_t at = 16 * (records.groups * b + i);
      store(chunk.scales + at, scales.scale(group));
      if constexpr (has_min(F)) store(chunk.mins + at, scales.min(group));
    }
  }
}

// Lines that will be wanted next, a few of them with each group.
struct Ahead {
  const std::byte* at;
  const std::byte* end;
  int64_t lines;  // per group

  DUNLIN_INLINE void fetch() {
    for (int64_t i = 0; i < lines && at < end; ++i, at += 64) prefetch(at);
  }
};

// Groups of a chunk for one row block; Half: groups of 16 columns.
template <typename Tiles, PackedForm F, bool Half>
struct Int8Groups {
  const Int8Chunk& chunk;
  const RowTile* rows;  // the row block's tiles from the chunk's first block on

  DUNLIN_INLINE const RowTile& tile(int64_t group) const { return rows[Half ? group / 2 : group]; }

  // The exact sums of a group, to the products' tile Sum.
  template <int Sum>
  DUNLIN_INLINE void multiply(int64_t group) const {
    Tiles::template zero<Sum>();
    const std::byte* codes = reinterpret_cast<const std::byte*>(tile(group).codes);
    Tiles::template load<4 + Sum % 2>(codes + (Half ? 16 * (group % 2) : 0), 32);
    Tiles::template load<6 + Sum % 2>(chunk.codes + (Half ? 256 : 512) * group);
    Tiles::template dot_int8<Sum>();
    Tiles::template store<Sum>(chunk.products + 1024 * Sum);
  }

  template <int Sum>
  DUNLIN_INLINE void add_to(Floats (&acc)[16], int64_t group) const {
    const float* scale = tile(group).scales;
    const float* sum = Half ? tile(group).half_sums[group % 2] : tile(group).sums;
    const Floats weight_scale = load(chunk.scales + 16 * group);
    const Floats weight_min = has_min(F) ? load(chunk.mins + 16 * group) : zero();
#pragma GCC unroll 16
    for (int r = 0; r < 16; ++r) {
      const Floats row_scale = broadcast(scale[r]);
      const Ints dot = load_ints(chunk.products + 1024 * Sum + 64 * r);
      acc[r] = fma(to_floats(dot), mul(weight_scale, row_scale), acc[r]);
      if constexpr (has_min(F)) {
        acc[r] = fma(broadcast(sum[r]), mul(weight_min, row_scale), acc[r]);
      }
    }
  }

  // One of four groups in turn, while those kGroupsInFlight behind it are multiplied.
  template <int Sum>
  DUNLIN_INLINE void step(int64_t group, int64_t groups, Ahead& ahead, Floats (&acc)[16]) const {
    if (group >= groups) return;
    if (group + kGroupsInFlight < groups) {
      multiply<(Sum + kGroupsInFlight) % 4>(group + kGroupsInFlight);
    }
    ahead.fetch();
    add_to<Sum>(acc, group);
  }

  // sums[16][16] += all groups; they begin at zero in the first chunk.
  inline void run(int64_t groups, bool first_chunk, Ahead& ahead, float* sums) const {
    Floats acc[16];
#pragma GCC unroll 16
    for (int r = 0; r < 16; ++r) acc[r] = first_chunk ? zero() : load(sums + 16 * r);
    multiply<0>(0);
    if (groups > 1) multiply<1>(1);
    for (int64_t group = 0; group < groups; group += 4) {
      step<0>(group, groups, ahead, acc);
      step<1>(group + 1, groups, ahead, acc);
      step<2>(group + 2, groups, ahead, acc);
      step<3>(group + 3, groups, ahead, acc);
    }
#pragma GCC unroll 16
    for (int r = 0; r < 16; ++r) store(sums + 16 * r, acc[r]);
  }
};

// At most kLinearStripeBlock stripes and kLinearRowBlock rows: a chunk of columns of all stripes,
// then the next, so that the rows' slice stays in L1.
template <typename Tiles, PackedForm F, bool Half>
inline void int8_block(const LinearArgs& args, int64_t stripe, int64_t stripe_end, int64_t row,
                       int64_t rows) {
  const PackedLayout& layout = args.weight.layout;
  const Int8Chunk chunk = Int8Chunk::in(args.workspace);
  const int64_t all_blocks = layout.columns / 32;
  const int64_t row_blocks = (rows + 15) / 16;
  const Records<F> records = Records<F>::of(layout);
  const int64_t chunk_bytes = (kChunkBlocks >> records.shift) * records.bytes;
  const RowTile* row_tiles =
      reinterpret_cast<const RowTile*>(args.activations) + row / 16 * all_blocks;
  for (int64_t block = 0; block < all_blocks; block += kChunkBlocks) {
    const int64_t left = all_blocks - block;
    const int64_t blocks = left < kChunkBlocks ? left : kChunkBlocks;
    const int64_t groups = Half ? 2 * blocks : blocks;
    const int64_t chunk_at = block / kChunkBlocks * chunk_bytes;
    for (int64_t s = stripe; s < stripe_end; ++s) {
      const std::byte* packed = args.weight.data + s * layout.stripe_bytes();
      expand_chunk<F>(records, packed, block, blocks, chunk);
      const std::byte* next =
          s + 1 < stripe_end
              ? packed + layout.stripe_bytes() + chunk_at
              : args.weight.data + stripe * layout.stripe_bytes() + chunk_at + chunk_bytes;
      Ahead ahead{next, next + chunk_bytes, chunk_bytes / 64 / (row_blocks * groups) + 1};
      for (int64_t b = 0; b < row_blocks; ++b) {
        const Int8Groups<Tiles, F, Half> part{chunk, row_tiles + b * all_blocks + block};
        part.run(groups, block == 0, ahead, chunk.sums + ((s - stripe) * row_blocks + b) * 256);
      }
    }
  }
  for (int64_t s = stripe; s < stripe_end; ++s) {
    const float* sums = chunk.sums + (s - stripe) * row_blocks * 256;
    for (int64_t r = 0; r < rows; ++r) write_sum(args, s, row + r, load(sums + 16 * r));
  }
}

template <typename Tiles, PackedForm F, bool Half>
inline void int8_blocks(const LinearArgs& args) {
  for (int64_t row = args.row_begin; row < args.row_end; row += kLinearRowBlock) {
    const int64_t left = args.row_end - row;
    const int64_t rows = left < kLinearRowBlock ? left : kLinearRowBlock;
    for (int64_t stripe = args.stripe_begin; stripe < args.stripe_end;
         stripe += kLinearStripeBlock) {
      const int64_t end = stripe + kLinearStripeBlock;
      int8_block<Tiles, F, Half>(args, stripe, end < args.stripe_end ? end : args.stripe_end, row,
                                 rows);
    }
  }
}

template <typename Tiles, PackedForm F>
inline void linear_int8_tiles(const LinearArgs& args) noexcept {
  Tiles::configure_int8(args.weight.layout.group);
  if (args.weight.layout.group == 32) {
    int8_blocks<Tiles, F, false>(args);
  } else {
    int8_blocks<Tiles, F, true>(args);
  }
  Tiles::release();
}
