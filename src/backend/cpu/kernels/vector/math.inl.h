// exp and its relatives over sixteen lanes, operation by operation those of base/scalar_math.h.
// Included inside the namespace and target region of an instruction set (scalar/simd.h says what
// the functions mean).

DUNLIN_INLINE Floats power_of_two_of(Ints n) {
  return as_floats(shift_left<23>(add(n, broadcast_int(127))));
}

DUNLIN_INLINE Floats exp(Floats x) {
  const Floats n = round_even(mul(x, broadcast(kLog2E)));
  Floats r = fma(n, broadcast(-kLn2High), x);
  r = fma(n, broadcast(-kLn2Low), r);
  Floats p = broadcast(kExpPolynomial[0]);
#pragma GCC unroll 5
  for (int i = 1; i < 6; ++i) p = fma(p, r, broadcast(kExpPolynomial[i]));
  p = fma(p, mul(r, r), r);
  p = add(p, broadcast(1.0f));
  const Ints whole = to_ints(n);
  const Ints half = shift_right_signed<1>(whole);
  Floats result = mul(mul(p, power_of_two_of(half)), power_of_two_of(sub(whole, half)));
  result = select(less(x, broadcast(kExpLow)), zero(), result);
  result = select(less(broadcast(kExpHigh), x), broadcast(__builtin_inff()), result);
  return select(not_number(x), x, result);
}

DUNLIN_INLINE Floats sigmoid(Floats x) {
  const Floats one = broadcast(1.0f);
  return div(one, add(one, exp(negate(x))));
}

DUNLIN_INLINE Floats tanh(Floats x) {
  const Floats two = broadcast(2.0f);
  return sub(mul(two, sigmoid(mul(two, x))), broadcast(1.0f));
}

// Rounded to bf16 (nearest even, NaN stays a quiet NaN), as float32.
DUNLIN_INLINE Floats round_bf16(Floats x) {
  const Ints raw = as_ints(x);
  const Ints keep = broadcast_int(-65536);
  const Ints last_bit = bit_and(shift_right<16>(raw), broadcast_int(1));
  const Ints rounded = bit_and(add(raw, add(last_bit, broadcast_int(0x7fff))), keep);
  const Ints quiet = bit_and(bit_or(raw, broadcast_int(0x400000)), keep);
  return select(not_number(x), as_floats(quiet), as_floats(rounded));
}
