// The int8 arithmetic of linear on AMX tiles: TDPBSSD gives the exact sums of a weight group for 16
// rows x 16 channels; the fused multiply-adds behind it are those of vector/int8.inl.h
// (docs/decisions/0002-numerics.md, "Arithmetic of linear"). Included inside the namespace and
// target region of an instruction set, after vector/linear.inl.h and vector/quantise.inl.h; `Tiles`
// is amx/tiles.h or an emulation.
//
// Activations are Int8Tile<16>. The products of a group wait in memory while the next two groups
// are under way, which hides how long TDPBSSD and the store of its sums take.

// 512 columns: two row blocks, the expanded weights and their scales are 36 KB of a 48 KB L1.
constexpr int64_t kChunkBlocks = 16;
constexpr int64_t kGroupsInFlight = 2;
using RowTile = Int8Tile<16>;

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

// The weights of one stripe and at most kChunkBlocks blocks.
struct StripeChunk {
  static constexpr int64_t kBytes = kChunkBlocks * (512 + 4 * 64);

  std::byte* codes;  // 512 bytes per block: 8 rows of 16 channels x 4 codes
  float* scales;     // [groups][16]
  float* mins;       // [groups][16]

  static DUNLIN_INLINE StripeChunk in(std::byte* memory) {
    std::byte* scales = memory + kChunkBlocks * 512;
    std::byte* mins = scales + 2 * kChunkBlocks * 64;
    return {memory, reinterpret_cast<float*>(scales), reinterpret_cast<float*>(mins)};
  }
};

// A worker's memory.
struct Int8Memory {
  static constexpr int64_t kProducts = kLinearStripeBlock * StripeChunk::kBytes;
  static constexpr int64_t kSums = kProducts + 4 * 1024;
  static_assert(kSums + kLinearStripeBlock * kLinearRowBlock * 64 <= kLinearWorkspaceBytes);

  std::byte* memory;

  DUNLIN_INLINE StripeChunk chunk(int64_t stripe) const {
    return StripeChunk::in(memory + stripe * StripeChunk::kBytes);
  }
  // Four tiles of exact sums.
  DUNLIN_INLINE std::byte* products() const { return memory + kProducts; }
  // Unfinished sums of a row block, [16][16].
  DUNLIN_INLINE float* sums(int64_t stripe, int64_t row_block, int64_t row_blocks) const {
    return reinterpret_cast<float*>(memory + kSums) + (stripe * row_blocks + row_block) * 256;
  }
};

template <PackedForm F>
inline void expand_chunk(const Records<F>& records, const std::byte* stripe, int64_t block,
                         int64_t blocks, const StripeChunk& chunk) {
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
  const StripeChunk& chunk;
  std::byte* products;
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
    Tiles::template store<Sum>(products + 1024 * Sum);
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
      const Ints dot = load_ints(products + 1024 * Sum + 64 * r);
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

// At most kLinearStripeBlock stripes and kLinearRowBlock rows. A chunk of columns of all stripes is
// expanded, then two row blocks at a time, 24 KB, stay in L1 while the stripes go by.
template <typename Tiles, PackedForm F, bool Half>
struct Int8Block {
  Records<F> records;
  Int8Memory memory;
  const std::byte* weights;  // of the first stripe
  int64_t stripe_bytes;
  int64_t stripes;
  const RowTile* rows;  // of the first row block
  int64_t row_blocks;
  int64_t blocks;  // of 32 columns, all of them

  inline void run() const {
    for (int64_t block = 0; block < blocks; block += kChunkBlocks) {
      const int64_t left = blocks - block;
      const int64_t count = left < kChunkBlocks ? left : kChunkBlocks;
      for (int64_t s = 0; s < stripes; ++s)
        expand_chunk<F>(records, weights + s * stripe_bytes, block, count, memory.chunk(s));
      for (int64_t b = 0; b < row_blocks; b += 2)
        multiply(block, Half ? 2 * count : count, b, b + 2 < row_blocks ? b + 2 : row_blocks);
    }
  }

  // Row blocks [first, last) over the expanded chunk. With the first of them come the lines of the
  // next chunk.
  inline void multiply(int64_t block, int64_t groups, int64_t first, int64_t last) const {
    const int64_t chunk_bytes = (kChunkBlocks >> records.shift) * records.bytes;
    const int64_t lines = chunk_bytes / 64 / ((last - first) * groups) + 1;
    for (int64_t s = 0; s < stripes; ++s) {
      const std::byte* next = weights + s * stripe_bytes + (block / kChunkBlocks + 1) * chunk_bytes;
      Ahead ahead{next, first == 0 ? next + chunk_bytes : next, lines};
      const StripeChunk chunk = memory.chunk(s);
      for (int64_t b = first; b < last; ++b) {
        const Int8Groups<Tiles, F, Half> part{chunk, memory.products(), rows + b * blocks + block};
        part.run(groups, block == 0, ahead, memory.sums(s, b, row_blocks));
      }
    }
  }
};

template <typename Tiles, PackedForm F, bool Half>
inline void int8_block(const LinearArgs& args, int64_t stripe, int64_t stripe_end, int64_t row,
                       int64_t rows) {
  const PackedLayout& layout = args.weight.layout;
  const int64_t blocks = layout.columns / 32;
  const Int8Memory memory{args.workspace};
  const Int8Block<Tiles, F, Half> block{
      Records<F>::of(layout),
      memory,
      args.weight.data + stripe * layout.stripe_bytes(),
      layout.stripe_bytes(),
      stripe_end - stripe,
      reinterpret_cast<const RowTile*>(args.activations) + row / 16 * blocks,
      (rows + 15) / 16,
      blocks};
  block.run();
  for (int64_t s = stripe; s < stripe_end; ++s) {
    const float* sums = memory.sums(s - stripe, 0, block.row_blocks);
    for (int64_t r = 0; r < rows; ++r) write_sum(args, s, row + r, load(sums + 16 * r));
  }
}

template <typename Tiles, PackedForm F, bool Half>
inline void int8_blocks(const LinearArgs& args) {
  for_linear_blocks(args, [&args](int64_t stripe, int64_t stripe_end, int64_t row, int64_t rows)
                              DUNLIN_ALWAYS_INLINE {
                                int8_block<Tiles, F, Half>(args, stripe, stripe_end, row, rows);
                              });
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
