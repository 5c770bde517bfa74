// Activations of the int8 arithmetic (docs/decisions/0002-numerics.md, "Arithmetic of linear").
// Included inside the namespace and target region of an instruction set.

// One group of 32: amax, scale = amax / 127, codes = x * (127 / amax) rounded half to even.
DUNLIN_INLINE void quantise_group(const float* x, int8_t* codes, float* scale) {
  const Floats low = load(x);
  const Floats high = load(x + 16);
  const float amax = fold_max(max(abs(low), abs(high)));
  const bool tiny = amax < 0x1p-100f;
  *scale = tiny ? 0.0f : amax / 127.0f;
  const Floats inverse = broadcast(tiny ? 0.0f : 127.0f / amax);
  // The clamp changes no finite value; it gives infinities and NaN the same codes on every
  // instruction set.
  const Floats most = broadcast(127.0f);
  const Floats least = broadcast(-127.0f);
  store_int8(codes, to_ints(min(max(mul(low, inverse), least), most)));
  store_int8(codes + 16, to_ints(min(max(mul(high, inverse), least), most)));
}

DUNLIN_INLINE int32_t sum_codes(const int8_t* codes) {
  int32_t sum = 0;
  for (int i = 0; i < 16; ++i) sum += codes[i];
  return sum;
}
