// The tensors of a checkpoint as a GGUF file lists them.
#pragma once

#include <vector>

#include "base/result.h"
#include "checkpoint/checkpoint.h"
#include "convert/tensor_stream.h"

namespace dunlin {

// Every tensor in the format it is stored in (I8 and F8 as BF16); of a GGUF file as they are. Of a
// Hugging Face directory: embedding, layers, output; those that no model reads are left out; query
// and key rows of a llama model in GGUF's order; vectors in F32, which is what llama.cpp computes
// with; llama3's rope scaling as rope_freqs.weight; gate and up of experts next to each other where
// they are one tensor there. Errors (kind model): a scaling that GGUF has no form for; those of
// check_complete and check_no_mesh.
Result<std::vector<TensorPlan>> gguf_tensors(const Checkpoint& checkpoint);

// An error (kind model) that names a weight the checkpoint lacks; (kind usage) of a prepared
// directory whose weights are packed, of which nothing else can be made.
Result<void> check_complete(const Checkpoint& checkpoint);

// An error (kind usage) of a prepared directory for a mesh too: other containers are made from the
// model that it was made from.
Result<void> check_no_mesh(const Checkpoint& checkpoint);

}  // namespace dunlin
