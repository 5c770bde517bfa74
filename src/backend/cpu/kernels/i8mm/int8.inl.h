// The int8 arithmetics of linear for two and more rows on SMMLA. Included inside the namespace and
// target region of an instruction set, after i8mm/dot.inl.h, vector/int8.inl.h and vector/wide.inl.h.

constexpr int kPairedRows = 4;  // rows that share one pass over integer weights

template <PackedForm F>
inline void linear_int8_pairs(const LinearArgs& args) noexcept {
  if (args.weight.layout.group == 32) {
    int8_tiles<F, kPairedRows, kInt8TileRows, false>(args);
  } else {
    int8_tiles<F, kPairedRows, kInt8TileRows, true>(args);
  }
}

inline void linear_wide_pairs(const LinearArgs& args) noexcept {
  wide_tiles<kPairedRows, kInt8TileRows>(args);
}
