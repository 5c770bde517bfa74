// Parity: a model's values against reference values of the same prompt, tensor by tensor, and its greedy continuation.
//
// The reference is an ArrayFile: input_ids [S] and any of hidden.{i}, norm1.{i}, q.{i}, k.{i}, v.{i}, attn_out.{i},
// norm2.{i}, gate.{i}, up.{i}, mlp_out.{i}, final_norm, logits [S,V], greedy_ids [G], greedy_logits [G,V]. What it does
// not hold is not checked. Of a model that fills in masks input_ids is the prompt and its masks, and the loops of
// diffusion_parity.h are compared instead of a greedy continuation.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "backend/api.h"
#include "backend/pjrt/pjrt_backend.h"
#include "backend/watch.h"
#include "base/result.h"
#include "checkpoint/pack_cache.h"
#include "parity/diffusion_parity.h"
#include "program/mesh.h"

namespace dunlin {

struct ParityOptions {
  std::string backend = "cpu";
  std::string device = {};                     // of the pjrt back end
  MeshShape mesh = {};                         // of the pjrt back end
  std::vector<std::string> xla_options = {};   // of the pjrt back end
  std::optional<IsolateOptions> isolate = {};  // of the pjrt back end
  Precision precision = Precision::f32;
  std::optional<KvType> kv_type = {};
  LoadMode load_mode = LoadMode::automatic;
  PackCacheSettings pack_cache = {};
  bool offload = false;
  std::string quantize = {};  // on load (convert/quantize_type.h)
  int threads = 0;
  std::string isa = {};
  // Allowed: tolerance * max(1, max |reference|) for logits, three times that for inner tensors.
  double tolerance = 2e-5;
  // Not empty: the engine's own values are written here under the same names. A reference that holds
  // nothing but input_ids is enough for that.
  std::string dump = {};
  // >= 0: only so many layers. Values behind the last layer of the whole model (final_norm, logits,
  // greedy_ids, greedy_logits) are then not compared.
  int64_t layers = -1;
  std::vector<std::string> disabled = {};  // names of optimisations (engine/optimizations.h)
  std::shared_ptr<Watch> watch = nullptr;  // its hit ends the comparison and is the error
  DiffusionOverrides diffusion = {};
};

struct ParityRow {
  std::string name = {};
  bool pass = false;
  double max_abs_diff = 0;
  double allowed = 0;
  std::string where = {};  // of the largest difference: "[3,17]: 0.25, reference 0.75"
};

struct ParityReport {
  std::vector<ParityRow> rows;       // in the order of computation
  std::vector<std::string> ignored;  // tensors of the reference that this model does not produce
  std::string isa;
  int64_t passed() const;
  bool pass() const { return passed() == static_cast<int64_t>(rows.size()); }
  double max_abs_diff() const;
  std::optional<std::string> first_failure() const;
};

Result<ParityReport> compare_with_reference(const std::string& model_path,
                                            const std::string& reference_path,
                                            const ParityOptions& options);

}  // namespace dunlin
