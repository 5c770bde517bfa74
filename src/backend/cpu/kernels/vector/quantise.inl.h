// Activations of the int8 arithmetic (docs/decisions/0002-numerics.md, "Arithmetic of linear").
// Included inside the namespace and target region of an instruction set.

// One group of 32: amax, scale = amax / 127, codes = x * (127 / amax) rounded half to even. A value
// that is not finite makes the scale NaN.
DUNLIN_INLINE void quantise_group(const float* x, int8_t* codes, float* scale) {
  const Floats low = load(x);
  const Floats high = load(x + 16);
  const Floats infinity = broadcast(__builtin_inff());
  // A maximum may pass a NaN over, so each is looked at.
  const bool finite = (bits(less(abs(low), infinity)) & bits(less(abs(high), infinity))) == 0xffffu;
  const float amax = fold_max(max(abs(low), abs(high)));
  const bool tiny = amax < 0x1p-100f;
  *scale = !finite ? __builtin_nanf("") : tiny ? 0.0f : amax / 127.0f;
  const Floats inverse = broadcast(tiny ? 0.0f : 127.0f / amax);
  // The clamp changes no finite value; it gives infinities and NaN the same codes on every
  // instruction set.
  const Floats most = broadcast(127.0f);
  const Floats least = broadcast(-127.0f);
  store_int8(codes, to_ints(min(max(mul(low, inverse), least), most)));
  store_int8(codes + 16, to_ints(min(max(mul(high, inverse), least), most)));
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
      for (int64_t row = first; row < last; ++row)
        fill_int8_row<R>(args.x + row * args.x_stride + 32 * block, row % R, tile);
    }
    first = last;
  }
}
