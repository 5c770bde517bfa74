#include "engine/model.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <memory>
#include <string_view>
#include <utility>

#include "backend/cpu/cpu_backend.h"
#include "backend/pjrt/pjrt_backend.h"
#include "backend/reference/reference.h"
#include "convert/quantize_on_load.h"
#include "convert/unread_weights.h"
#include "engine/float32_weights.h"
#include "engine/kv_options.h"
#include "engine/optimizations.h"
#include "models/registry.h"

namespace dunlin {
namespace {

using Clock = std::chrono::steady_clock;

Result<std::unique_ptr<Backend>> make_backend(const ModelOptions& options) {
  if (!options.device.empty() && options.backend != "pjrt") {
    return usage_error(fmt::format("--device {} needs --backend pjrt", options.device));
  }
  if (options.mesh.devices() > 1 && options.backend != "pjrt") {
    return usage_error(fmt::format("--mesh {} needs --backend pjrt", to_string(options.mesh)));
  }
  if (!options.xla_options.empty() && options.backend != "pjrt") {
    return usage_error(
        fmt::format("--xla-option {} needs --backend pjrt", options.xla_options.front()));
  }
  if (options.steps_per_call != 0 && options.backend != "pjrt") {
    return usage_error(
        fmt::format("--steps-per-call {} needs --backend pjrt", options.steps_per_call));
  }
  if (options.isolate && options.backend != "pjrt")
    return usage_error("--isolate needs --backend pjrt");
  if (options.backend == "cpu") return make_cpu_backend();
  if (options.backend == "reference") return make_reference_backend();
  if (options.backend == "pjrt") {
    PjrtOptions of_plugin{.mesh = options.mesh,
                          .xla_options = options.xla_options,
                          .steps_per_call = options.steps_per_call,
                          .isolate = options.isolate};
    if (!options.device.empty()) of_plugin.device = options.device;
    return make_pjrt_backend(of_plugin);
  }
  return usage_error(
      fmt::format("unknown back end \"{}\" (cpu, reference, pjrt)", options.backend));
}

// More have no memory anywhere, and below it the products of sizes fit 64 bits.
constexpr int64_t kMostSequences = 1 << 20;

// What is asked for once the disabled optimisations of the engine are left out.
Result<ModelOptions> without_disabled(ModelOptions options) {
  const auto is_off = [&options](std::string_view name) {
    return std::ranges::find(options.disabled, name) != options.disabled.end();
  };
  if (is_off(kCompiled)) {
    options.backend = "reference";
    options.device.clear();
    options.mesh = {};
    options.xla_options.clear();
    options.steps_per_call = 0;
    options.isolate.reset();
    options.isa.clear();
  }
  if (is_off(kPrecision)) {
    if (options.precision != Precision::automatic && options.precision != Precision::f32) {
      return usage_error(fmt::format(
          "--disable precision computes in float32 and --precision {} does not: leave one out",
          precision_name(options.precision)));
    }
    options.precision = Precision::f32;
  }
  return options;
}

// What keys and values are kept as, where the back end can.
Result<KvType> choose_kv_type(const ModelOptions& options) {
  DUNLIN_ASSIGN_OR_RETURN(const KvType type, kv_type_of(options.precision, options.kv_type));
  if (type != KvType::int8 || options.backend != "pjrt") return type;
  return usage_error("keys and values in int8 need --backend cpu or reference, and this is pjrt");
}

// Several steps at once are for answers that nobody looks into.
Result<void> check_steps_per_call(const ModelOptions& options, bool diffusion) {
  if (options.steps_per_call <= 1 || (options.watch == nullptr && !diffusion)) return {};
  return usage_error(fmt::format("--steps-per-call {}: {}", options.steps_per_call,
                                 diffusion ? "a diffusion model fills in masks, step by step"
                                           : "--watch looks at every step; leave one out"));
}

Result<int64_t> choose_context(const ModelOptions& options, int64_t trained, bool diffusion) {
  if (options.context < 0) return usage_error(fmt::format("the context is {}", options.context));
  if (options.context == 0) return std::min(trained, diffusion ? kDefaultCanvas : kDefaultContext);
  if (options.context > trained && !options.any_context) {
    return usage_error(
        fmt::format("a context of {} is more than the {} positions the model was trained for",
                    options.context, trained));
  }
  return options.context;
}

std::vector<int32_t> stop_ids(const Metadata& config) {
  std::vector<int32_t> ids;
  if (const auto* list = std::get_if<std::vector<int64_t>>(config.find("eos_token_id"))) {
    for (const int64_t id : *list) ids.push_back(static_cast<int32_t>(id));
  }
  return ids;
}

// Files of GPT-OSS name one or two of the tokens that end an answer, and some name <|end|>, behind which the answer
// follows the thought.
void stop_as_harmony(const harmony::Marks& marks, std::vector<int32_t>& ids) {
  std::erase(ids, marks.end);
  for (const int32_t id : marks.stop_ids()) {
    if (std::ranges::find(ids, id) == ids.end()) ids.push_back(id);
  }
}

// No more rows than all sequences can bring.
StepLimits token_limits(const ModelOptions& options, int64_t context) {
  const int64_t most =
      context > options.rows / options.sequences ? options.rows : context * options.sequences;
  StepLimits limits{.sequences = options.sequences, .context = context};
  limits.rows = std::max(std::min(options.rows, most), options.sequences);
  limits.logit_rows =
      options.logit_rows == 0 ? options.sequences : std::min(options.logit_rows, limits.rows);
  return limits;
}

// A canvas is computed in one step, whatever its size, and logits of all its masks may be wanted.
StepLimits canvas_limits(const ModelOptions& options, int64_t context) {
  const int64_t masks = std::max(options.new_tokens, kDefaultNewTokens);
  const int64_t wanted = std::min(masks, context) * options.sequences;
  StepLimits limits{
      .rows = std::max(options.rows, context), .sequences = options.sequences, .context = context};
  limits.rows = std::min(limits.rows, context * options.sequences);
  limits.logit_rows = std::min(options.logit_rows == 0 ? wanted : options.logit_rows, limits.rows);
  return limits;
}

// What the back end would fuse if nobody watched.
Result<void> attach_watch(Watch& watch, const Backend& backend, const CompileOptions& options,
                          Program& program) {
  const std::vector<FusedNode> alone = backend.fusions(program, options);
  DUNLIN_RETURN_IF_ERROR(watch.attach(program));
  const std::vector<FusedNode> watched = backend.fusions(program, options);
  std::vector<FusedNode> blocked;
  for (const FusedNode& node : alone) {
    if (std::ranges::find(watched, node) == watched.end()) blocked.push_back(node);
  }
  watch.set_blocked(std::move(blocked));
  return {};
}

// Offloaded weights are mapped, whatever was asked for.
bool is_mapped(const ModelOptions& options) {
  return options.load_mode == LoadMode::mmap || options.offload;
}

// Null: nothing is to be kept, or there is nothing to keep. `stored` is the checkpoint before it is
// encoded in another type.
std::shared_ptr<PackCache> make_pack_cache(const Model& model, const Checkpoint& stored) {
  const ModelOptions& options = model.options;
  const bool packs = options.backend == "cpu" && model.checkpoint->prepared() == nullptr;
  // Float32, for a comparison: of a model of 8B parameters 32 GB, for which all others would go.
  const bool wanted = model.uses(kPrecision) || is_mapped(options);
  if (!packs || !wanted || options.pack_cache.folder.empty()) return nullptr;
  PackCacheSettings settings = options.pack_cache;
  if (is_mapped(options)) settings.least_bytes = 0;
  return std::make_shared<PackCache>(std::move(settings), stored, options.quantize);
}

// Weights that were packed ahead; null where they are packed while they are loaded. Those can be mapped
// only where they are kept.
Result<std::shared_ptr<const PreparedWeights>> packed_weights(const Model& model, bool kept) {
  std::shared_ptr<const PreparedWeights> weights = model.checkpoint->prepared();
  if (weights != nullptr || kept || !is_mapped(model.options)) return weights;
  return usage_error(
      fmt::format("{}: its weights are packed while they are loaded and cannot be mapped; "
                  "`dunlin convert {} OUT --to prepared` packs them ahead",
                  model.checkpoint->path(), model.checkpoint->path()));
}

Result<void> compile(Model& model, Backend& backend, const Checkpoint& stored) {
  const ModelOptions& options = model.options;
  if (options.offload && options.backend != "cpu")
    return usage_error(
        fmt::format("--offload needs the back end cpu, and this is {}", options.backend));
  const auto cache = make_pack_cache(model, stored);
  DUNLIN_ASSIGN_OR_RETURN(std::shared_ptr<const PreparedWeights> packed,
                          packed_weights(model, cache != nullptr));
  const CompileOptions compile_options{
      .precision = options.precision,
      .kv_type = options.kv_type,
      .limits = model.limits,
      .threads = options.threads,
      .isa = options.isa,
      .disabled = options.disabled,
      .progress = options.progress,
      .prepared = std::move(packed),
      .store = cache,
      .load_mode = options.offload ? LoadMode::mmap : options.load_mode,
      .offload = {.on = options.offload, .other_bytes = options.offload ? kv_bytes(model) : 0},
      .memory_tuning = {.folder = options.pack_cache.folder,
                        .least_bytes = options.pack_cache.tuned_bytes}};
  if (options.watch != nullptr)
    DUNLIN_RETURN_IF_ERROR(attach_watch(*options.watch, backend, compile_options, model.program));
  WeightSource weights = [&checkpoint = *model.checkpoint](const std::string& name) {
    return checkpoint.weight(name);
  };
  if (!model.uses(kPrecision)) weights = float32_weights(std::move(weights));
  DUNLIN_ASSIGN_OR_RETURN(model.executable,
                          backend.compile(model.program, weights, compile_options));
  if (cache != nullptr) {
    if (options.kept_first) cache->finish();
    model.packed_before = cache->hit();
    model.pack_notes = cache->notes();
    model.pack_cache = cache;
  }
  if (options.watch != nullptr) model.executable = options.watch->wrap(std::move(model.executable));
  return {};
}

}  // namespace

Result<StepLimits> step_limits(const ModelOptions& options, int64_t trained_context,
                               bool diffusion) {
  DUNLIN_ASSIGN_OR_RETURN(const int64_t context,
                          choose_context(options, trained_context, diffusion));
  return diffusion ? canvas_limits(options, context) : token_limits(options, context);
}

Result<std::unique_ptr<Model>> load_model(const std::string& path, const ModelOptions& options) {
  if (options.rows < 1) return usage_error(fmt::format("{} rows in a step", options.rows));
  if (options.sequences < 1 || options.sequences > kMostSequences) {
    return usage_error(
        fmt::format("{} sequences at a time; expected 1 to {}", options.sequences, kMostSequences));
  }
  DUNLIN_RETURN_IF_ERROR(check_optimizations(options.disabled));
  const auto start = Clock::now();
  auto model = std::make_unique<Model>();
  DUNLIN_ASSIGN_OR_RETURN(model->options, without_disabled(options));
  DUNLIN_ASSIGN_OR_RETURN(model->options.kv_type, choose_kv_type(model->options));
  DUNLIN_ASSIGN_OR_RETURN(model->checkpoint, open_checkpoint(path));
  const Checkpoint& stored = *model->checkpoint;  // lives on in what encodes it
  if (!options.quantize.empty()) {
    DUNLIN_ASSIGN_OR_RETURN(model->checkpoint,
                            quantize_on_load(std::move(model->checkpoint), options.quantize));
  }
  const Metadata& config = model->checkpoint->config();

  DUNLIN_ASSIGN_OR_RETURN(model->trained_context,
                          config.integer_or("max_position_embeddings", 1, int64_t{1} << 31, 2048));
  DUNLIN_ASSIGN_OR_RETURN(model->diffusion, diffusion_of(config));
  if (!options.autoregressive_for.empty())
    DUNLIN_RETURN_IF_ERROR(require_autoregressive(*model, options.autoregressive_for));
  DUNLIN_RETURN_IF_ERROR(check_steps_per_call(model->options, model->diffusion.has_value()));
  DUNLIN_ASSIGN_OR_RETURN(
      model->limits, step_limits(options, model->trained_context, model->diffusion.has_value()));
  const int64_t context = model->limits.context;
  if (options.kv_tokens < 0 || (options.kv_tokens > 0 && options.kv_tokens < context)) {
    return usage_error(fmt::format("a KV cache of {} tokens does not hold one context of {}",
                                   options.kv_tokens, context));
  }
  DUNLIN_ASSIGN_OR_RETURN(model->vocabulary, config.integer("vocab_size", 1, 1 << 24));
  model->text = load_text_model(*model->checkpoint);
  model->stop_ids = stop_ids(config);
  if (model->text.harmony.has_value()) stop_as_harmony(*model->text.harmony, model->stop_ids);

  DUNLIN_ASSIGN_OR_RETURN(model->program,
                          record_model(config, {.taps = options.taps,
                                                .layers = options.layers,
                                                .logits_view_k = options.logits_view_k,
                                                .keeps_hidden = options.watch != nullptr &&
                                                                options.watch->keeps_hidden()}));
  DUNLIN_RETURN_IF_ERROR(check_kv_memory(*model));
  if (options.layers < 0)
    DUNLIN_RETURN_IF_ERROR(check_all_are_read(*model->checkpoint, model->program));
  DUNLIN_ASSIGN_OR_RETURN(const auto backend, make_backend(model->options));
  DUNLIN_RETURN_IF_ERROR(compile(*model, *backend, stored));
  model->load_ms = std::chrono::duration<double, std::milli>(Clock::now() - start).count();
  return model;
}

Result<void> require_autoregressive(const Model& model, std::string_view what) {
  if (!model.diffusion) return {};
  return usage_error(fmt::format(
      "{} is a diffusion model, which fills in masks; {} needs a model that writes token after "
      "token (`dunlin run` works on both)",
      model.checkpoint == nullptr ? model.program.model : model.checkpoint->path(), what));
}

SamplingParams recommended_sampling(const Metadata& config) {
  SamplingParams params;
  const auto take = [&config]<typename T>(const char* key, T& value) {
    if (const auto number = config.number(key, -1e30, 1e30); number.ok())
      value = static_cast<T>(*number);
  };
  take("generation.temperature", params.temperature);
  take("generation.top_k", params.top_k);
  take("generation.top_p", params.top_p);
  take("generation.min_p", params.min_p);
  take("generation.repetition_penalty", params.repeat_penalty);
  return params;
}

int64_t parameter_count(const Checkpoint& checkpoint) {
  int64_t count = 0;
  for (const WeightInfo& weight : checkpoint.weights()) count += element_count(weight.shape);
  return count;
}

uint64_t tensor_bytes(const Checkpoint& checkpoint) {
  uint64_t bytes = 0;
  for (const TensorInfo& tensor : checkpoint.tensors()) bytes += tensor.bytes;
  return bytes;
}

std::string format_summary(const Checkpoint& checkpoint) {
  std::map<Format, int> counts;
  for (const TensorInfo& tensor : checkpoint.tensors()) ++counts[tensor.format];
  std::vector<std::pair<Format, int>> rows(counts.begin(), counts.end());
  std::ranges::sort(rows, [](const auto& a, const auto& b) {
    return a.second != b.second ? a.second > b.second : a.first < b.first;
  });
  std::string summary;
  for (const auto& [format, count] : rows) {
    summary += fmt::format("{}{} ({})", summary.empty() ? "" : ", ", traits(format).name, count);
  }
  return summary;
}

}  // namespace dunlin
