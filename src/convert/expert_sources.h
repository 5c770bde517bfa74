// Experts of a mixture as bytes in the order that Hugging Face directories have: the inverse of
// checkpoint/weight_parts.h and checkpoint/mxfp4_pairs.h. Parts are weights of one format and shape
// whose rows lie in canonical order, or two whose rows lie in turn (rows_in_turn), all of one source.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/byte_source.h"
#include "formats/weight_view.h"

namespace dunlin {

// Units of so many bytes, rows or elements, of all parts in turn: unit i of part p is unit
// i * parts + p. Reads each byte once, in runs of about a megabyte.
std::shared_ptr<const ByteSource> interleaved_source(std::vector<WeightView> parts,
                                                     int64_t unit_bytes);

// Parts [stacks, rows, columns] of plain numbers as [stacks, columns, rows * parts]: element (s, r, c)
// of part p is element (s, c, r * parts + p). Holds two tiles of at most `tile_bytes` (or one column
// of a stack), so that bytes asked for in order, by any number of threads, are read once.
inline constexpr int64_t kTileBytes = int64_t{64} << 20;
std::shared_ptr<const ByteSource> transposed_source(std::vector<WeightView> parts, int64_t stacks,
                                                    int64_t tile_bytes = kTileBytes);

// Of MXFP4 in ggml's blocks: 16 bytes of codes a block, the first of two neighbours in the low half of
// a byte; or its exponent.
std::shared_ptr<const ByteSource> mxfp4_codes(std::shared_ptr<const ByteSource> blocks);
std::shared_ptr<const ByteSource> mxfp4_scales(std::shared_ptr<const ByteSource> blocks);

}  // namespace dunlin
