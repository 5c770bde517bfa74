// How many bytes a weight, a key or a value takes on a device, by the name of its number format.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "backend/api.h"
#include "backend/packed_forms.h"
#include "base/result.h"
#include "formats/format.h"
#include "formats/weight_view.h"
#include "program/program.h"

namespace dunlin {

// Rows of whole blocks, and what a row has beside them: a scale, or one for every scale_columns.
struct Storage {
  std::string name = "BF16";
  int64_t block_elements = 1;
  int64_t block_bytes = 2;
  int64_t scale_bytes = 0;    // of a scale
  int64_t scale_columns = 0;  // that share one; 0: all of a row

  // Bytes of a matrix; a row that ends within a block takes the whole block.
  int64_t bytes(int64_t rows, int64_t columns) const {
    const int64_t blocks = (columns + block_elements - 1) / block_elements;
    const int64_t scales = scale_columns == 0 ? 1 : (columns + scale_columns - 1) / scale_columns;
    return rows * (blocks * block_bytes + scales * scale_bytes);
  }
};

// A number format of weights (formats/format.h) under its name, or one of the forms that only
// accelerators have: int8 and fp8, an element per byte with a 16-bit scale per output channel.
// Errors (kind usage) list the names.
Result<Storage> parse_storage(std::string_view name);
Storage storage_of(Format format);
// As a checkpoint has it, which says how many columns share a scale.
Storage storage_of(const WeightView& view);

// Storage of keys or values: f32, bf16, q8_0, q4_0, or int8 with a 16-bit scale per position and
// head. Blocks are cut per head.
Result<Storage> parse_kv_storage(std::string_view name);

// The formats of all weights of a Program, by WeightId.
using WeightStorage = std::vector<Storage>;

// Elements of the ffn axis that stay together on a device: whole blocks of all weights that have them
// along it, as shard_weights() has it of a checkpoint. Blocks that do not fit the rows do not count.
int64_t ffn_unit_of(const Program& program, const WeightStorage& storage);

// As `source` gives them. Vectors and biases are held in 16 bits.
Result<WeightStorage> weight_storage(const Program& program, const WeightSource& source);

// Matrices that `linear` and `experts` read become `matrices`; those that hold the vocabulary become
// `vocabulary`, where that is given. An empty name changes nothing.
struct Requantization {
  std::string matrices = {};
  std::string vocabulary = {};
};
Result<void> requantize(const Program& program, const Requantization& to, WeightStorage& storage);

// What a device of this platform makes of formats of files (backend/packed_forms.h): matrices that are
// multiplied become what they are there, tables what rows are looked up in; a tied table counts once,
// as a matrix. Blocks stay as long as they are, since shares are cut between those of the file. The
// forms that only accelerators have, and Platform::other, change nothing.
void hold_on(const Program& program, Platform platform, WeightStorage& storage);

// By WeightId: whether `linear` or `experts` multiplies by the matrix (by a tied embedding too).
std::vector<bool> multiplied_weights(const Program& program);
// A weight with a dimension of the vocabulary.
bool holds_vocabulary(const WeightDeclaration& weight);

}  // namespace dunlin
