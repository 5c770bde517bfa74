// Rows of int8 activations as the kernels read them. Included inside the namespace and target
// region of an instruction set.

// Rows first .. first + R - 1 of a tile: with a constant distance from row to row, all of them are
// addressed from one pointer.
template <int T>
struct Int8Rows {
  const Int8Tile<T>* tile;
  int64_t first;

  DUNLIN_INLINE const int8_t* codes(int r) const { return tile->codes[first + r]; }
  DUNLIN_INLINE Floats scale(int r) const { return broadcast(tile->scales[first + r]); }
  DUNLIN_INLINE Floats sum(int r) const { return broadcast(tile->sums[first + r]); }
  DUNLIN_INLINE Floats half_sum(int half, int r) const {
    return broadcast(tile->half_sums[half][first + r]);
  }
};
