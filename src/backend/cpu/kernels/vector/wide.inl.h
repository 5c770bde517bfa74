// The int8wide arithmetic of linear: exact integer sums over all columns
// (docs/decisions/0002-numerics.md, "Arithmetic of linear"), so in any order. Included inside the
// namespace and target region of an instruction set, after int8.inl.h and wide_rows.inl.h.

// sum[r] += the sums of a record of 64 columns.
template <int R>
DUNLIN_INLINE void wide_record(const std::byte* record, int64_t prefetch_bytes, const int8_t* rows,
                               Ints (&sum)[R]) {
  for (int half = 0; half < 2; ++half) {
    const BlockCodes<PackedForm::wide> codes{record + 512 * half, nullptr};
    for (int line = 0; line < 8; ++line) prefetch(codes.low + prefetch_bytes + 64 * line);
    Ints dot[R];
    dot_group<PackedForm::wide, R, 0, 8>(codes, WideRows{rows + 32 * half}, dot);
    for (int r = 0; r < R; ++r) sum[r] = add(sum[r], dot[r]);
  }
}

// Rows [row, row_end) of one tile, R at a time, then R / 2 ...
template <int R, int T>
inline void wide_rows(const LinearArgs& args, int64_t stripe, int64_t row, int64_t row_end) {
  const PackedLayout& layout = args.weight.layout;
  const int64_t blocks = layout.records();
  const std::byte* records =
      args.weight.data + stripe * layout.stripe_bytes() + layout.records_at();
  const WideTile<T>* tiles =
      reinterpret_cast<const WideTile<T>*>(args.activations + wide_tiles_at(args.rows)) +
      row / T * blocks;
  for (; row_end - row >= R; row += R) {
    Ints sum[R];
    for (int r = 0; r < R; ++r) sum[r] = broadcast_int(0);
    for (int64_t block = 0; block < blocks; ++block)
      wide_record<R>(records + 1024 * block, args.prefetch_bytes, tiles[block].codes[row % T], sum);
    for (int r = 0; r < R; ++r) write_wide_sum<kQ8Unsigned>(args, stripe, row + r, sum[r]);
  }
  if constexpr (R > 1) wide_rows<R / 2, T>(args, stripe, row, row_end);
}

template <int R, int T>
inline void wide_tiles(const LinearArgs& args) {
  for_row_tiles<T>(args, [&args](int64_t stripe, int64_t row, int64_t row_end)
                             DUNLIN_ALWAYS_INLINE { wide_rows<R, T>(args, stripe, row, row_end); });
}

inline void linear_wide(const LinearArgs& args) noexcept {
  if (args.rows == 1) {
    wide_tiles<1, 1>(args);
  } else {
    wide_tiles<kInt8Rows, kInt8TileRows>(args);
  }
}
