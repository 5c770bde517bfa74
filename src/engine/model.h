// Model: everything a checkpoint gives, loaded for one back end: configuration, text side, Program and
// executable.
#pragma once

#include <dunlin/sampling.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "backend/api.h"
#include "backend/pjrt/pjrt_backend.h"
#include "backend/watch.h"
#include "base/result.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/pack_cache.h"
#include "engine/text_model.h"
#include "models/dream.h"
#include "program/mesh.h"
#include "program/program.h"

namespace dunlin {

struct ModelOptions {
  std::string backend = "cpu";  // or "reference" or "pjrt"
  std::string device = {};  // of the pjrt back end (backend/pjrt/pjrt_backend.h); empty: cpu-xla
  MeshShape mesh = {};      // of its devices
  std::vector<std::string> xla_options = {};  // "name=value", for the compiler of its plug-in
  // Tokens of greedy requests in one call of its device (PjrtOptions::steps_per_call); 0: its choice.
  int64_t steps_per_call = 0;
  std::optional<IsolateOptions> isolate = {};  // of its plug-in: a process of its own
  Precision precision = Precision::automatic;
  // What keys and values are kept as; nothing: what the precision keeps. A loaded model has a type.
  std::optional<KvType> kv_type = {};
  // Of a prepared directory, and of weights from the pack cache; mmap needs one of them.
  LoadMode load_mode = LoadMode::automatic;
  // Where the cpu back end keeps what it packs for later loadings; without a folder nowhere. What is to
  // be mapped is kept whatever its size, and float32 of `disabled` "precision" only then. What is not to be
  // mapped is written while the model is used, and whoever ends the model waits for it.
  PackCacheSettings pack_cache = {};
  // For who measures: a model is there only once nothing is written any more.
  bool kept_first = false;
  // Of the cpu back end: weights are mapped, whatever load_mode is, and read while the model runs where
  // memory does not hold them. They are those of a prepared directory or of the pack cache, which the
  // first loading packs them into.
  bool offload = false;
  int threads = 0;       // 0: one per core this process may use
  std::string isa = {};  // empty: DUNLIN_ISA, or the best there is
  // Positions of one sequence; 0: the model's, at most kDefaultContext, or kDefaultCanvas where a
  // step computes all of them.
  int64_t context = 0;
  int64_t sequences = 1;  // at a time
  // Positions that the KV cache holds for all sequences together; 0: the full context of each. When
  // it is full, sequences wait for each other.
  int64_t kv_tokens = 0;
  int64_t rows = 512;   // of one step: the chunk of a prompt
  int64_t layers = -1;  // >= 0: a truncated model
  int64_t logits_view_k = 64;
  std::vector<std::string> taps = {};  // outputs for looking inside (program/recorder.h)
  int64_t logit_rows = 0;  // of one step; 0: one per sequence, of a diffusion model new_tokens
  int64_t new_tokens = 0;  // of a diffusion model: masks of one canvas; at least kDefaultNewTokens
  std::string quantize = {};  // a type (convert/quantize_type.h) to encode matrices in; empty: none
  // Names of optimisations (engine/optimizations.h). In the options of a loaded model `backend` and
  // `precision` are what is left without them.
  std::vector<std::string> disabled = {};
  std::shared_ptr<Watch> watch = nullptr;  // looks at values after every step
  std::function<void(double fraction, const std::string& what)> progress = {};
  // What needs a model that writes token after token (require_autoregressive()): another is refused
  // before its weights are read. Empty: nothing does.
  std::string autoregressive_for = {};
  bool any_context = false;  // a context beyond the model's is no error
};

inline constexpr int64_t kDefaultContext = 8192;
inline constexpr int64_t kDefaultCanvas = 2048;  // what Dream's authors call usable
inline constexpr int64_t kDefaultNewTokens = 128;

struct Model {
  std::unique_ptr<Checkpoint> checkpoint = {};
  TextModel text;
  Program program;
  std::unique_ptr<Executable> executable = {};
  StepLimits limits;
  ModelOptions options;
  int64_t trained_context = 0;  // max_position_embeddings
  int64_t vocabulary = 0;       // rows of the logits
  std::vector<int32_t> stop_ids = {};
  // Of a model that fills in masks; nothing: one that writes token after token.
  std::optional<MaskedDiffusion> diffusion = {};
  double load_ms = 0;
  // Of the pack cache: whether the weights came from it, and lines about it for people.
  bool packed_before = false;
  std::vector<std::string> pack_notes = {};
  // What may still write the packed weights; null: there is no cache. The last member, so that it is
  // waited for while the others are there.
  std::shared_ptr<PackCache> pack_cache = {};

  bool uses(std::string_view optimization) const {
    return std::ranges::find(options.disabled, optimization) == options.disabled.end();
  }
};

// Reads headers, records the Program, compiles it for the back end. Errors name the file; a context beyond the model's
// is of kind usage (but for any_context), one whose KV cache this machine cannot hold of kind does_not_fit, before weights are read.
Result<std::unique_ptr<Model>> load_model(const std::string& path, const ModelOptions& options);

// The largest step of a model that was trained for so many positions, as load_model() compiles it.
// Errors (kind usage): a context beyond that, but for any_context, or none at all.
Result<StepLimits> step_limits(const ModelOptions& options, int64_t trained_context,
                               bool diffusion);

// The error (kind usage) of what asks for the next token of a model that fills in masks: "scoring a
// text".
Result<void> require_autoregressive(const Model& model, std::string_view what);

// What the model's authors recommend (generation_config.json), over the built-in values.
SamplingParams recommended_sampling(const Metadata& config);

// One line per fact for people: parameters, formats, context.
int64_t parameter_count(const Checkpoint& checkpoint);
std::string format_summary(const Checkpoint& checkpoint);  // "Q4_1 (210), F32 (61), Q8_0"
uint64_t tensor_bytes(const Checkpoint& checkpoint);

}  // namespace dunlin
