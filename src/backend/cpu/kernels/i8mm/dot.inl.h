// Integer sums of a weight group, two rows and two channels at a time: SMMLA multiplies 2 x 8 bytes
// by 8 x 2. Included inside the namespace and target region of an instruction set, after
// records.inl.h, in the place of vector/dot.inl.h; the instructions are those of i8mm/pairs.h or an
// emulation.

// Codes of a block as the signed bytes they are multiplied as: those of 8 bits are stored with an
// offset of 128, the others are small.
template <PackedForm F>
DUNLIN_INLINE Ints signed_codes(Ints codes) {
  if constexpr (code_bits(F) == 8) {
    return bit_xor(codes, broadcast_int(static_cast<int32_t>(0x80808080u)));
  } else {
    return codes;
  }
}

// Exact sums over columns 4 First .. 4 (First + Fours) of a block: a weight group. A row alone is
// multiplied twice, as SMMLA has no other form.
template <PackedForm F, int R, int First, int Fours, typename Rows>
DUNLIN_INLINE void dot_group(const BlockCodes<F>& codes, const Rows& x, Ints (&dot)[R]) {
  constexpr int kPairs = (R + 1) / 2;
  PairSums sums[kPairs];
  for (int p = 0; p < kPairs; ++p) sums[p] = {broadcast_int(0), broadcast_int(0)};
  for_eight([&]<int C>() DUNLIN_ALWAYS_INLINE {
    if constexpr (C % 2 == 0 && C >= First && C < First + Fours) {
      const PairWeights weights = pair_weights(signed_codes<F>(codes.template four<C>()),
                                               signed_codes<F>(codes.template four<C + 1>()));
      for (int p = 0; p < kPairs; ++p) {
        const int second = R == 1 ? 0 : 2 * p + 1;
        const PairRows rows = pair_rows(x.codes(2 * p) + 4 * C, x.codes(second) + 4 * C);
        sums[p] = add_pair_products(sums[p], rows, weights);
      }
    }
  });
  for (int p = 0; p < kPairs; ++p) {
    dot[2 * p] = first_row(sums[p]);
    if constexpr (R > 1) dot[2 * p + 1] = second_row(sums[p]);
  }
}
