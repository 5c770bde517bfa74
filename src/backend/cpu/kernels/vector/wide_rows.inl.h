// Rows of int8wide activations as the kernels read them, and what becomes of their sums. Included
// inside the namespace and target region of an instruction set, after linear.inl.h.

// 32 codes of neighbouring rows of a tile.
struct WideRows {
  const int8_t* first;

  DUNLIN_INLINE const int8_t* codes(int r) const { return first + 64 * r; }
};

// fma(float(sum q * code), ws * s, 0) of a row, then as write_sum. Stored: the sum is that of codes
// as they are stored, with an offset of 128.
template <bool Stored>
DUNLIN_INLINE void write_wide_sum(const LinearArgs& args, int64_t stripe, int64_t row, Ints sum) {
  const std::byte* weights = args.weight.data + stripe * args.weight.layout.stripe_bytes();
  const WideRow& x = reinterpret_cast<const WideRow*>(args.activations)[row];
  if constexpr (Stored) sum = sub(sum, broadcast_int(x.offset));
  const Floats scale = mul(load(reinterpret_cast<const float*>(weights)), broadcast(x.scale));
  write_sum(args, stripe, row, fma(to_floats(sum), scale, zero()));
}
