// Activations of the int8 arithmetics (docs/decisions/0002-numerics.md, "Arithmetic of linear").
// Included inside the namespace and target region of an instruction set.

// Of numbers whose largest magnitude is amax: scale = amax / 127, codes = x * (127 / amax) rounded
// half to even. A number that is not finite makes the scale NaN.
struct CodeScale {
  float scale;
  float inverse;

  static DUNLIN_INLINE CodeScale of(float amax, bool finite) {
    const bool tiny = amax < 0x1p-100f;
    const float scale = tiny ? 0.0f : amax / 127.0f;
    return {finite ? scale : __builtin_nanf(""), tiny ? 0.0f : 127.0f / amax};
  }
  // The clamp changes no finite value; it gives infinities and NaN the same codes on every
  // instruction set.
  DUNLIN_INLINE Ints codes(Floats x) const {
    return to_ints(min(max(mul(x, broadcast(inverse)), broadcast(-127.0f)), broadcast(127.0f)));
  }
};

// ---- groups of 32 ----

DUNLIN_INLINE void quantise_group(const float* x, int8_t* codes, float* scale) {
  const Floats low = load(x);
  const Floats high = load(x + 16);
  const Floats infinity = broadcast(__builtin_inff());
  // A maximum may pass a NaN over, so each is looked at.
  const bool finite = (bits(less(abs(low), infinity)) & bits(less(abs(high), infinity))) == 0xffffu;
  const CodeScale of = CodeScale::of(fold_max(max(abs(low), abs(high))), finite);
  *scale = of.scale;
  store_int8(codes, of.codes(low));
  store_int8(codes + 16, of.codes(high));
}

DUNLIN_INLINE float sum_codes(const int8_t* codes) {
  int32_t sum = 0;
  for (int i = 0; i < 16; ++i) sum += codes[i];
  return static_cast<float>(sum);
}

// Row `row` of a tile from 32 values.
template <int R>
DUNLIN_INLINE void fill_int8_row(const float* x, int64_t row, Int8Tile<R>* tile) {
  int8_t* codes = tile->codes[row];
  quantise_group(x, codes, &tile->scales[row]);
  tile->half_sums[0][row] = sum_codes(codes);
  tile->half_sums[1][row] = sum_codes(codes + 16);
  tile->sums[row] = tile->half_sums[0][row] + tile->half_sums[1][row];
}

template <int R>
inline void prepare_int8_tiles(const PrepareArgs& args) noexcept {
  const int64_t blocks = args.columns / 32;
  Int8Tile<R>* tiles = reinterpret_cast<Int8Tile<R>*>(args.out);
  // Tile by tile: a row alone has a part of a few lines of each.
  for (int64_t first = args.row_begin; first < args.row_end;) {
    const int64_t next = (first / R + 1) * R;
    const int64_t last = next < args.row_end ? next : args.row_end;
    for (int64_t block = 0; block < blocks; ++block) {
      Int8Tile<R>* tile = tiles + first / R * blocks + block;
      for (int64_t row = first; row < last; ++row) {
        const float* x = args.x + (row - args.x_row) * args.x_stride + 32 * block;
        fill_int8_row<R>(x, row % R, tile);
      }
    }
    first = last;
  }
}

// ---- whole rows ----

// Sixteen numbers of a row of `columns`, from column k on; zeros behind the last.
DUNLIN_INLINE Floats load_columns(const float* x, int64_t k, int64_t columns) {
  const int64_t left = columns - k;
  return left >= 16 ? load(x + k) : load_first(x + k, left < 0 ? 0 : left);
}

DUNLIN_INLINE CodeScale scale_of_row(const float* x, int64_t columns) {
  Floats largest = zero();
  Floats poison = zero();  // NaN where a number is not finite, as a maximum may pass a NaN over
  for (int64_t k = 0; k < columns; k += 16) {
    const Floats value = load_columns(x, k, columns);
    largest = max(abs(value), largest);
    poison = add(poison, mul(value, zero()));
  }
  return CodeScale::of(fold_max(largest), bits(not_number(poison)) == 0);
}

// Row `row` of a tile and of those behind it.
template <int R>
DUNLIN_INLINE void fill_wide_row(const float* x, int64_t columns, int64_t row, WideTile<R>* tiles,
                                 WideRow* into) {
  const CodeScale of = scale_of_row(x, columns);
  Ints sums = broadcast_int(0);
  for (int64_t k = 0; k < 64 * wide_blocks(columns); k += 16) {
    const Ints codes = of.codes(load_columns(x, k, columns));
    sums = add(sums, codes);
    store_int8(tiles[k / 64].codes[row] + k % 64, codes);
  }
  float lanes[16];  // at most 127 * kMostWideColumns / 16: whole numbers
  store(lanes, to_floats(sums));
  uint32_t sum = 0;
  for (int i = 0; i < 16; ++i) sum += static_cast<uint32_t>(static_cast<int32_t>(lanes[i]));
  *into = {of.scale, static_cast<int32_t>(128u * sum)};
}

template <int R>
inline void prepare_wide_tiles(const PrepareArgs& args) noexcept {
  const int64_t blocks = wide_blocks(args.columns);
  WideRow* rows = reinterpret_cast<WideRow*>(args.out);
  WideTile<R>* tiles = reinterpret_cast<WideTile<R>*>(args.out + wide_tiles_at(args.rows));
  for (int64_t row = args.row_begin; row < args.row_end; ++row) {
    const float* x = args.x + (row - args.x_row) * args.x_stride;
    fill_wide_row<R>(x, args.columns, row % R, tiles + row / R * blocks, rows + row);
  }
}
