// Records of packed weights: scales, stored codes, and expansion of 32 columns of a stripe to
// float32 (layouts: packed.h). Included inside the namespace and target region of an instruction
// set.

// What the kernels ask of a layout for every block, worked out once per call.
template <PackedForm F>
struct Records {
  ScaleType scale;
  int64_t bytes;      // of a record
  int64_t shift;      // a record has 2^shift blocks of 32 columns
  int64_t groups;     // of a block: 1 or 2
  int64_t scales_at;  // from the start of a record
  int64_t mins_at;    // from its scales; with factors, where those of the minima are
  int64_t prefetch_bytes;

  static DUNLIN_INLINE Records of(const PackedLayout& layout,
                                  int64_t prefetch_bytes = kPrefetchBytes) {
    const bool factors = layout.scale == ScaleType::factors;
    const int64_t shift = layout.scale == ScaleType::none ? 0 : factors ? 3 : 1;
    const int64_t groups = layout.group == 16 ? 2 : 1;
    const int64_t all = groups << shift;
    return {layout.scale,
            layout.record_bytes(),
            shift,
            groups,
            (64 * code_bits(F)) << shift,
            factors ? kFactorsAt + kStripeRows * all : 32 * all,
            prefetch_bytes};
  }
  static constexpr int64_t kFactorsAt = has_min(F) ? 64 : 32;  // from a record's scales
  // Of a stripe: the record that block `block` is in, and its number there.
  DUNLIN_INLINE const std::byte* record(const std::byte* stripe, int64_t block) const {
    return stripe + (F == PackedForm::mxfp4 ? 64 : 0) + (block >> shift) * bytes;
  }
  DUNLIN_INLINE int64_t within(int64_t block) const { return block & ((int64_t{1} << shift) - 1); }
  // As many bytes as block `within` of a record takes.
  DUNLIN_INLINE void read_ahead(const std::byte* record, int64_t within) const {
    const int64_t block_bytes = bytes >> shift;
    const std::byte* const ahead = record + within * block_bytes + prefetch_bytes;
    for (int64_t at = 0; at < block_bytes; at += 64) prefetch(ahead + at);
  }
};

// 2^(e - 127) of a group of mxfp4.
DUNLIN_INLINE Floats load_e8m0(const std::byte* exponents) {
  return as_floats(shift_left<23>(load_unsigned_bytes(exponents)));
}

// Scales of the groups of one record.
template <PackedForm F>
struct RecordScales {
  const std::byte* at;
  int64_t mins_at;
  bool f16;
  Floats d;     // of the record, with factors
  Floats dmin;  // negative

  static DUNLIN_INLINE RecordScales of(const Records<F>& records, const std::byte* record) {
    RecordScales scales{record + records.scales_at, records.mins_at,
                        records.scale == ScaleType::f16, zero(), zero()};
    if (records.scale == ScaleType::factors) {
      scales.d = load_f16(scales.at);
      if constexpr (has_min(F)) scales.dmin = load_f16(scales.at + 32);
    }
    return scales;
  }

  DUNLIN_INLINE Floats scale(int64_t group) const {
    if (f16) return load_f16(at + 32 * group);
    if constexpr (F == PackedForm::q8) return load(reinterpret_cast<const float*>(at));
    // Codes are twice the elements.
    if constexpr (F == PackedForm::mxfp4) return mul(load_e8m0(at + 16 * group), broadcast(0.5f));
    return mul(d, to_floats(load_signed_bytes(at + Records<F>::kFactorsAt + 16 * group)));
  }
  DUNLIN_INLINE Floats min(int64_t group) const {
    if (f16) return load_f16(at + mins_at + 32 * group);
    return mul(dmin, to_floats(load_signed_bytes(at + mins_at + 16 * group)));
  }
};

// The codes of block b (32 columns) of a record: where its lines are.
template <PackedForm F>
struct BlockCodes {
  const std::byte* low;   // nibbles, or whole bytes
  const std::byte* high;  // of q5 and q6

  static DUNLIN_INLINE BlockCodes of(const Records<F>& records, const std::byte* record,
                                     int64_t block) {
    constexpr int64_t kBytes = code_bits(F) == 8 ? 512 : 256;
    constexpr int64_t kHighBytes = 64 * (code_bits(F) - 4);
    return {record + kBytes * block, record + (256 << records.shift) + kHighBytes * block};
  }

  // Stored codes 4 C .. 4 C + 3 of every channel, a byte each; of mxfp4 twice the elements and
  // code_offset.
  template <int C>
  DUNLIN_INLINE Ints four() const {
    if constexpr (code_bits(F) == 8) {
      return load_ints(low + 64 * C);
    } else {
      const Ints line = load_ints(low + 64 * (C / 2));
      const Ints nibbles = bit_and(shift_right<4 * (C % 2)>(line), broadcast_int(0x0f0f0f0f));
      constexpr int kHigh = code_bits(F) - 4;
      if constexpr (F == PackedForm::mxfp4) {
        return fp4_codes(nibbles);
      } else if constexpr (kHigh == 0) {
        return nibbles;
      } else {
        constexpr int kPerByte = 8 / kHigh;
        constexpr int kFrom = kHigh * (C % kPerByte);
        const Ints bits = load_ints(high + 64 * (C / kPerByte));
        Ints moved = bits;  // to bit 4 of each byte
        if constexpr (kFrom > 4) moved = shift_right<kFrom - 4>(bits);
        if constexpr (kFrom < 4) moved = shift_left<4 - kFrom>(bits);
        constexpr int32_t kMask = kHigh == 1 ? 0x10101010 : 0x30303030;
        return bit_or(nibbles, bit_and(moved, broadcast_int(kMask)));
      }
    }
  }
};

// Calls f.template operator()<C>() for C = 0 .. 7.
template <int C = 0, typename F>
DUNLIN_INLINE void for_eight(const F& f) {
  if constexpr (C < 8) {
    f.template operator()<C>();
    for_eight<C + 1>(f);
  }
}

// ---- expansion of 32 columns of a stripe to float32 ----

// Columns 2j and 2j + 1 of a floating-point record.
template <PackedForm F>
DUNLIN_INLINE void load_pair(const std::byte* record, int j, Floats* even, Floats* odd) {
  if constexpr (F == PackedForm::f32) {
    *even = load(reinterpret_cast<const float*>(record + 128 * j));
    *odd = load(reinterpret_cast<const float*>(record + 128 * j + 64));
  } else if constexpr (F == PackedForm::bf16) {
    const Ints pairs = load_ints(record + 64 * j);
    *even = as_floats(shift_left<16>(pairs));
    *odd = as_floats(bit_and(pairs, broadcast_int(-65536)));
  } else {
    split_f16(load_ints(record + 64 * j), even, odd);
  }
}

// How a weight is rounded to bf16: not at all, as round_bf16 does, or as round_weight does.
enum class WeightRounding { none, any, finite };

// round_bf16 of zeros and of magnitudes of 2^-100 to 2^100, in a third of the operations. The
// product of x and 2^16 - 1 keeps x rounded to 8 bits below 2^16 x, so what the product loses is
// what x does. (With 2^16 + 1 a carry into the next power of two would lose a bit more.)
DUNLIN_INLINE Floats round_weight(Floats x) {
  const Floats product = mul(x, broadcast(65535.0f));
  const Floats lost = fma(x, broadcast(-65535.0f), product);
  return sub(x, lost);
}

// value = scale * code (+ min), each rounded; with a minimum the product is exact (11 bits of d, 6
// of a factor, 5 of a code).
template <PackedForm F, WeightRounding R>
DUNLIN_INLINE Floats code_value(Ints code, Floats scale, Floats min) {
  if constexpr (code_offset(F) != 0) code = sub(code, broadcast_int(code_offset(F)));
  Floats value;
  if constexpr (has_min(F)) {
    value = fma(scale, to_floats(code), min);
  } else {
    value = mul(scale, to_floats(code));
  }
  if constexpr (R == WeightRounding::any) value = round_bf16(value);
  if constexpr (R == WeightRounding::finite) value = round_weight(value);
  return value;
}

// Whether values of such scales are what round_weight takes. Those of F16 are multiples of 2^-24 or
// not finite, and so are the minima.
DUNLIN_INLINE bool rounds_simply(Floats scale) {
  const Floats magnitude = abs(scale);
  const Mask zeros = equal(magnitude, zero());
  return bits(less(magnitude, broadcast(0x1p90f))) == 0xffff &&
         bits(less(magnitude, broadcast(0x1p-90f))) == bits(zeros);
}

template <PackedForm F, WeightRounding R>
DUNLIN_INLINE void expand_lines(const BlockCodes<F>& codes, const Floats (&scale)[2],
                                const Floats (&min)[2], float* out, int64_t stride) {
  for_eight([&]<int C>() DUNLIN_ALWAYS_INLINE {
    const Ints four = codes.template four<C>();
    const Ints byte = broadcast_int(255);
    float* to = out + 4 * C * stride;
    const auto put = [&](int k, Ints code) DUNLIN_ALWAYS_INLINE {
      store(to + k * stride, code_value<F, R>(code, scale[C / 4], min[C / 4]));
    };
    put(0, bit_and(four, byte));
    put(1, bit_and(shift_right<8>(four), byte));
    put(2, bit_and(shift_right<16>(four), byte));
    put(3, shift_right<24>(four));
  });
}

template <PackedForm F, bool Round>
DUNLIN_INLINE void expand_codes(const Records<F>& records, const std::byte* record, int64_t block,
                                float* out, int64_t stride) {
  const RecordScales<F> scales = RecordScales<F>::of(records, record);
  const BlockCodes<F> codes = BlockCodes<F>::of(records, record, block);
  const int64_t groups = records.groups;
  Floats scale[2];
  Floats min[2];
  bool simply = true;
  for (int64_t i = 0; i < 2; ++i) {
    const int64_t group = groups * block + (groups == 2 ? i : 0);
    scale[i] = scales.scale(group);
    min[i] = has_min(F) ? scales.min(group) : zero();
    simply = simply && rounds_simply(scale[i]) && (!has_min(F) || rounds_simply(min[i]));
  }
  if constexpr (!Round) {
    expand_lines<F, WeightRounding::none>(codes, scale, min, out, stride);
  } else if (simply) {
    expand_lines<F, WeightRounding::finite>(codes, scale, min, out, stride);
  } else {
    expand_lines<F, WeightRounding::any>(codes, scale, min, out, stride);
  }
}

// Exact: a value is a power of two times two bits, so that rounding it to bf16 changes nothing.
DUNLIN_INLINE void expand_mxfp4(const std::byte* record, int64_t block, float* out,
                                int64_t stride) {
  const Floats scale = load_e8m0(record + 512 + 16 * block);
  for (int64_t j = 0; j < 4; ++j) {
    const Ints line = load_ints(record + 256 * block + 64 * j);
    float* to = out + 8 * j * stride;
    for_eight([&]<int C>() DUNLIN_ALWAYS_INLINE {
      store(to + C * stride, mul(fp4_values<C>(line), scale));
    });
  }
}

// Columns [32 block, 32 block + 32) of a stripe; column k goes to out + k * stride.
template <PackedForm F, bool Round>
inline void expand_block(const Records<F>& records, const std::byte* stripe, int64_t block,
                         float* out, int64_t stride) {
  const std::byte* record = records.record(stripe, block);
  if constexpr (F == PackedForm::mxfp4) {
    expand_mxfp4(record, records.within(block), out, stride);
  } else if constexpr (is_integer(F)) {
    records.read_ahead(record, records.within(block));
    expand_codes<F, Round>(records, record, records.within(block), out, stride);
  } else {
    for (int j = 0; j < 16; ++j) {
      Floats even;
      Floats odd;
      load_pair<F>(record, j, &even, &odd);
      store(out + 2 * j * stride, Round ? round_bf16(even) : even);
      store(out + (2 * j + 1) * stride, Round ? round_bf16(odd) : odd);
    }
  }
}
