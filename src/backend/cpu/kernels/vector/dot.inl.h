// Integer sums of a weight group, row by row; x.codes(r) are the 32 codes of row r. Included inside
// the namespace and target region of an instruction set, after records.inl.h.

// Exact sums over columns 4 First .. 4 (First + Fours) of a block: a weight group.
template <PackedForm F, int R, int First, int Fours, typename Rows>
DUNLIN_INLINE void dot_group(const BlockCodes<F>& codes, const Rows& x, Ints (&dot)[R]) {
  constexpr bool kBytes = code_bits(F) == 8;
  constexpr int kSteps = kBytes ? 8 : dot_steps(dot_bits(F));
  Ints partial[R];
  for (int r = 0; r < R; ++r) partial[r] = broadcast_int(0);
  for_eight([&]<int C>() DUNLIN_ALWAYS_INLINE {
    if constexpr (C >= First && C < First + Fours) {
      constexpr int kStep = C - First;
      const Ints four = codes.template four<C>();
      for (int r = 0; r < R; ++r) {
        const Ints values = broadcast_int(four_codes(x.codes(r) + 4 * C));
        partial[r] =
            kBytes ? dot_step_q8(partial[r], four, values) : dot_step(partial[r], four, values);
      }
      if constexpr ((kStep + 1) % kSteps == 0 || kStep + 1 == Fours) {
        for (int r = 0; r < R; ++r) {
          const Ints total = kBytes ? partial[r] : dot_total(partial[r]);
          dot[r] = kStep < kSteps ? total : add(dot[r], total);
          partial[r] = broadcast_int(0);
        }
      }
    }
  });
}
