// Compares what the devices of a mesh read of a model with its whole weights.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "base/result.h"
#include "checkpoint/checkpoint.h"
#include "formats/weight_box.h"
#include "program/mesh.h"

namespace dunlin {

// Meshes that golden models are split over.
const std::vector<MeshShape>& test_meshes();

// Whether the model has a layer for every stage of the mesh.
bool fills_stages(const Checkpoint& checkpoint, const MeshShape& shape);

// Whether all weights are single numbers, which no mesh can cut.
bool has_no_blocks(const Checkpoint& checkpoint);

// Writes a model as a GGUF file of a type of `dunlin quantize`.
Result<void> quantize_model(const std::string& in, const std::string& out, const char* type);

// Writes it as a Hugging Face directory of a type whose scales lie beside the elements.
Result<void> scale_model(const std::string& in, const std::string& out, const char* type);

// The bytes of a box, padded with zeros, cut out of the whole weight in memory.
std::vector<std::byte> cut_out(const WeightView& view, const WeightBox& box);

// What of a share's bytes is counted: what is asked of the sources of its weights, and, unless these are
// computed, what is read of the files below.
enum class Counted { sources, files };

// Expects of every device that its share of each weight is what it should be, that it reads no more
// than 1.1 times the bytes of its share, and of all devices that together they hold the weights. The
// error is that of a mesh the model cannot be split over.
Result<void> expect_shares(const Checkpoint& checkpoint, const MeshShape& shape,
                           const std::string& what, Counted counted = Counted::files);

}  // namespace dunlin
