// Small models for the tests of meshes: as Programs without bytes of weights.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "backend/pjrt/client/client.h"
#include "backend/pjrt/lower/lower.h"
#include "base/metadata.h"
#include "program/mesh.h"
#include "program/program.h"

namespace dunlin::pjrt {

// Width 64, four query heads on two kv heads of 16, ffn 160, vocabulary 160, two layers.
Metadata llama_config(int64_t heads = 4, int64_t kv_heads = 2);
// Two layers, one of them with a window; four experts, two of them for each row.
Metadata gpt_oss_config();

struct MeshModel {
  std::string name;
  Metadata config;
  std::vector<MeshShape> meshes;
};

// The three families, each with the meshes that matter for it; the first is llama_config().
const std::vector<MeshModel>& mesh_models();

// A model as it is lowered on a mesh: with the logits view of eight candidates, weights in float32.
struct MeshProgram {
  Program expanded;
  LoweringOptions options;
};
MeshProgram mesh_program(const Metadata& config, const MeshShape& shape);

// How often `words` stand in a lowered program.
int64_t times_in(std::string_view text, std::string_view words);

// The text for a bucket of one part of the batch, compiled for as many virtual devices.
struct CompiledMeshProgram {
  LoweredProgram lowered;
  std::unique_ptr<LoadedProgram> program;
};
CompiledMeshProgram compile_on_mesh(const MeshProgram& program, const Bucket& bucket);

}  // namespace dunlin::pjrt
