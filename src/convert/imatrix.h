// The importance matrix that llama.cpp's llama-imatrix writes: how large the inputs of each matrix
// are, measured over a text.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/result.h"
#include "convert/tensor_stream.h"

namespace dunlin {

struct ImportanceMatrix {
  // Mean square of each column's input, by the GGUF name of the tensor; of experts one after the
  // other, [experts, columns].
  std::map<std::string, std::vector<float>> columns = {};
  std::map<std::string, std::vector<int64_t>> rows =
      {};  // each expert's, or the matrix's, means are
           // over, by the same name
  std::vector<std::string> datasets = {};
  int64_t chunks = 0;      // of the text
  int64_t chunk_size = 0;  // tokens of one
};

// A GGUF file with general.type imatrix: NAME.in_sum2 [experts, columns] and NAME.counts [experts, 1] in
// F32, one "expert" of what is no mixture. All columns of one that has no rows count alike.
// Errors (kind model): another file, llama-imatrix's older .dat among them; numbers that are not
// finite or below zero.
Result<ImportanceMatrix> read_imatrix(const std::string& path);

// The file that read_imatrix() reads, llama-quantize too; whole or not at all.
Result<void> write_imatrix(const ImportanceMatrix& imatrix, const std::string& path);

// Gives the matrices that are encoded their importance. The names of those the file does not have.
// Errors (kind model): another number of columns or experts.
Result<std::vector<std::string>> apply_imatrix(const ImportanceMatrix& imatrix,
                                               std::vector<TensorPlan>& tensors);

}  // namespace dunlin
