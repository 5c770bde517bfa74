#include "cli/options.h"

#include <fmt/format.h>

#include "backend/pjrt/pjrt_backend.h"
#include "base/log.h"
#include "cli/argv.h"
#include "cli/inside_flags.h"
#include "cli/model_name.h"
#include "cli/numbers.h"
#include "convert/quantize_type.h"

namespace dunlin {
namespace {

constexpr int64_t kMostIsolateSeconds = 7 * 24 * 3600;

std::string check_quantize_type(const std::string& text) {
  if (find_quantize_type(text) != nullptr) return {};
  std::vector<std::string> names;
  for (const QuantizeType& each : quantize_types()) names.emplace_back(each.name);
  return unknown_name(text, "type", names);
}

std::string check_layer_count(const std::string& text) {
  int64_t count = 0;
  const std::string problem = parse_number(text, count);
  if (problem.empty() || text == "auto" || text == "all") return {};
  return fmt::format("\"{}\" {}", text, problem);
}

Check context_size() {
  return {[](const std::string& text) -> std::string {
    return parse_size("", text).ok()
               ? ""
               : fmt::format("\"{}\" is not a size such as 4096 or 32k", text);
  }};
}

void print_banner(const Model& model) {
  const Executable& executable = *model.executable;
  const Checkpoint& checkpoint = *model.checkpoint;
  const int64_t parameters = parameter_count(checkpoint);
  note("model    {} ({}, {:.1f} M parameters)\n", checkpoint.path(), model.program.model,
       static_cast<double>(parameters) / 1e6);
  note("formats  {}, {:.1f} MB{}\n", format_summary(checkpoint),
       static_cast<double>(tensor_bytes(checkpoint)) / 1e6,
       model.options.quantize.empty() ? "" : ", encoded while loading");
  note("device   {}, isa {}, {} threads, precision {}{}{}{}\n", model.options.backend,
       executable.isa(), executable.threads(), precision_name(model.options.precision),
       model.options.kv_type == KvType::int8 ? ", keys and values int8" : "",
       model.options.mesh.devices() == 1 ? "" : ", mesh " + to_string(model.options.mesh),
       model.options.isolate ? ", plug-in in a process of its own" : "");
  const bool cut = model.options.context == 0 && model.limits.context < model.trained_context;
  note("context  {} tokens{}\n", model.limits.context,
       cut ? fmt::format(" of the model's {} (-c changes it)", model.trained_context)
           : std::string());
  note("loaded   in {:.2f} s, {:.1f} MB of {}\n", model.load_ms / 1e3,
       static_cast<double>(executable.weights_bytes()) / 1e6,
       model.packed_before ? "packed weights from the cache" : "weights");
}

}  // namespace

Check quantize_type() {
  return {check_quantize_type};
}

void add_xla_option_flag(Command command, std::vector<std::string>& options) {
  add_flag(command, "--xla-option", options,
           "of pjrt: an option of the plug-in's compiler; may be repeated")
      .type_name("NAME=VALUE");
}

void add_steps_per_call_flag(Command command, int64_t& steps) {
  add_flag(command, "--steps-per-call", steps,
           fmt::format("of pjrt: tokens of greedy answers that the device computes before the host "
                       "looks (default: {} on GPUs, else 1)",
                       kStepsPerCallOnGpus))
      .check(in_range(1, kMostStepsPerCall))
      .default_str("");
}

void IsolateFlags::add_to(Command command) {
  add_switch(command, "--isolate", on,
             "of pjrt: the plug-in runs in a process of its own: one that crashes or hangs is an "
             "error with exit code 5");
  add_flag(
      command, "--isolate-timeout", seconds,
      fmt::format("with --isolate: how long a call of the plug-in may take (default: {:.0f}, to "
                  "compile {:.0f})",
                  kAnswerSeconds, kCompileSeconds))
      .type_name("SECONDS")
      .check(in_range(1, kMostIsolateSeconds));
}

Result<std::optional<IsolateOptions>> IsolateFlags::options() const {
  std::optional<IsolateOptions> options;
  if (!on && seconds)
    return usage_error(fmt::format("--isolate-timeout {} needs --isolate", *seconds));
  if (!on) return options;
  options.emplace().program = kThisProgram;
  options->seconds = static_cast<double>(seconds.value_or(0));
  return options;
}

Flag add_mesh_flag(Command command, std::string& mesh) {
  return add_flag(command, "--mesh", mesh,
                  "of pjrt: devices that compute together: data splits the sequences, model heads, "
                  "ffn and vocabulary, expert the experts (data=2,model=2)")
      .type_name("AXIS=N,..")
      .check(not_empty());
}

Result<MeshShape> parse_mesh_flag(const std::string& text) {
  return text.empty() ? Result<MeshShape>(MeshShape{}) : parse_mesh_shape(text);
}

void BackendFlags::add_to(Command command) {
  add_flag(command, "--backend", backend, "what computes")
      .check(one_of({"cpu", "reference", "pjrt"}));
  add_flag(command, "--device", device,
           "of pjrt: cpu-xla (default), tpu, gpu, or the path of a plug-in");
  add_mesh_flag(command, mesh);
  add_xla_option_flag(command, xla_options);
  isolate.add_to(command);
  add_flag(command, "--precision", precision, "the arithmetic (docs/decisions/0002-numerics.md)")
      .check(one_of({"auto", "exact", "int8", "fast", "f32"}));
  kv_type.add_to(command, {"bf16", "int8", "f32"});
  add_flag(command, "--load-mode", load_mode,
           "of a prepared directory and of cached weights: copy them into memory, or map the files "
           "(auto: copy, but map cached weights of 2 GB and more)")
      .check(one_of({"auto", "copy", "mmap"}));
  pack_cache.add_to(command);
  add_flag(command, "--offload", offload,
           "auto: for weights larger than memory, which are mapped from a prepared directory or "
           "from the cache of packed weights: layers and experts that do not fit are read while it "
           "runs (DUNLIN_MEMORY_BUDGET=6G sets what may be in memory)")
      .check(one_of({"none", "auto"}));
  add_flag(command, "--quantize", quantize,
           "encode the matrices of an F32, F16 or BF16 model in this type while it is loaded, to "
           "the bits of `dunlin quantize`")
      .type_name("TYPE")
      .check(quantize_type());
}

Result<ModelOptions> BackendFlags::options() const {
  ModelOptions options{
      .backend = backend, .device = device, .xla_options = xla_options, .quantize = quantize};
  DUNLIN_ASSIGN_OR_RETURN(options.mesh, parse_mesh_flag(mesh));
  DUNLIN_ASSIGN_OR_RETURN(options.isolate, isolate.options());
  DUNLIN_ASSIGN_OR_RETURN(options.precision, parse_precision(precision));
  DUNLIN_ASSIGN_OR_RETURN(options.kv_type, kv_type.type());
  if (load_mode == "copy") options.load_mode = LoadMode::copy;
  if (load_mode == "mmap") options.load_mode = LoadMode::mmap;
  options.pack_cache = pack_cache.settings();
  options.offload = offload == "auto";
  if (options.offload && options.load_mode == LoadMode::copy)
    return usage_error(
        "--offload auto maps the weights and --load-mode copy does not: leave one out");
  return options;
}

Result<ModelOptions> BackendFlags::bench_options() const {
  DUNLIN_ASSIGN_OR_RETURN(ModelOptions chosen, options());
  if (chosen.load_mode == LoadMode::automatic) chosen.load_mode = LoadMode::copy;
  chosen.kept_first = true;
  wait_at_the_end(chosen.pack_cache, /*quiet=*/true, /*verbose=*/false);
  return chosen;
}

Result<Precision> parse_precision(const std::string& name) {
  if (name == "auto") return Precision::automatic;
  if (name == "exact") return Precision::exact;
  if (name == "int8") return Precision::int8;
  if (name == "fast") return Precision::fast;
  if (name == "f32") return Precision::f32;
  return usage_error(
      fmt::format("--precision {}: unknown profile (auto, exact, int8, fast, f32)", name));
}

Result<int64_t> parse_size(const std::string& field, const std::string& text) {
  if (text == "auto") return 0;
  int64_t factor = 1;
  std::string_view digits = text;
  if (text.ends_with('k') || text.ends_with('K')) factor = 1 << 10;
  if (text.ends_with('m') || text.ends_with('M')) factor = 1 << 20;
  if (factor > 1) digits.remove_suffix(1);
  int64_t value = 0;
  if (!parse_number(digits, value).empty() || value < 0 || value > (int64_t{1} << 31))
    return usage_error(fmt::format("{} \"{}\": not a size such as 4096 or 32k", field, text));
  return value * factor;
}

void IgnoredFlags::add_to(Command command) {
  add_flag(command, "--gpu-layers,--n-gpu-layers", gpu_layers,
           "accepted for llama.cpp's sake (-ngl): --backend pjrt --device gpu computes all layers")
      .delimiter(',')
      .check({check_layer_count});
  add_flag(command, "--flash-attn", flash_attention,
           "accepted for llama.cpp's sake (-fa): the back end chooses how attention is computed")
      .delimiter(',')
      .check(one_of({"on", "off", "auto", "1", "0"}));
  add_switch(command, "--jinja", jinja,
             "accepted for llama.cpp's sake: the model's chat template is always used");
}

void IgnoredFlags::warn() const {
  if (!gpu_layers.empty())
    log_warning(
        "--gpu-layers (-ngl) has no effect: --backend pjrt --device gpu computes all layers there");
  if (!flash_attention.empty())
    log_warning("--flash-attn (-fa) has no effect: the back end chooses how attention is computed");
}

void BatchFlags::add_to(Command command) {
  add_flag(command, "-b,--batch-size,--max-num-batched-tokens", batch,
           "no more prompt tokens than this in one step, whatever -ub says")
      .check(in_range(1, 1 << 16));
  add_flag(command, "--ubatch-size,--prefill-chunk", ubatch, "prompt tokens of one step (-ub)")
      .check(in_range(1, 1 << 16));
}

void ModelFlags::add_to(Command command) {
  const FlagGroup group(command, "Model");
  add_flag(command, "model,-m,--model", model,
           "Hugging Face directory, .gguf file, or the name of a model that was pulled")
      .required()
      .type_name("MODEL")
      .check(not_empty())
      .transform(resolve_model);
  add_flag(command, "-c,--ctx-size,--max-model-len", context,
           "context in tokens (auto: the model's, at most 8192)")
      .check(context_size());
  add_flag(command, "-t,--threads", threads, "threads (0: one per core)").check(in_range(0, 1024));
  add_flag(command, "--parallel,--max-num-seqs", parallel, "sequences at a time (-np)")
      .check(in_range(1, 1024));
  step.add_to(command);
  backend.add_to(command);
  add_steps_per_call_flag(command, steps_per_call);
  add_layers_flag(command, layers, "run only the first N layers");
  add_disable_flag(command, disable);
  add_switch(command, "-q,--quiet", quiet, "no banner and no timings");
  add_switch(command, "-v,--verbose", verbose,
             "more on stderr: what the pack cache did, how weights are read, the kernels that were "
             "chosen");
  ignored.add_to(command);
}

Result<ModelOptions> ModelFlags::options() const {
  DUNLIN_ASSIGN_OR_RETURN(ModelOptions options, backend.options());
  options.threads = threads;
  options.sequences = parallel;
  options.rows = step.rows();
  options.layers = layers;
  options.steps_per_call = steps_per_call;
  DUNLIN_ASSIGN_OR_RETURN(options.context, parse_size("--ctx-size", context));
  options.disabled = disabled_optimizations(disable);
  return options;
}

Result<std::unique_ptr<Model>> load_with_banner(const ModelFlags& flags,
                                                const ModelOptions& options) {
  flags.ignored.warn();
  ProgressBar bar(!flags.quiet);
  ModelOptions with_progress = options;
  with_progress.progress = [&bar](double fraction, const std::string& what) {
    bar.update(fraction, what);
  };
  wait_at_the_end(with_progress.pack_cache, flags.quiet, flags.verbose);
  DUNLIN_ASSIGN_OR_RETURN(auto model, load_model(flags.model, with_progress));
  bar.clear();
  if (!flags.quiet) print_banner(*model);
  if (const std::string remark = model_note(flags.model); !flags.quiet && !remark.empty())
    note("note     {}\n", remark);
  if (flags.verbose) {
    for (const std::string& line : model->pack_notes) note("cache    {}\n", line);
    if (const std::string line = model->executable->memory_tuning(); !line.empty())
      note("memory   {}\n", line);
    for (const auto& [operation, kernel] : model->executable->kernels())
      note("kernel   {}: {}\n", operation, kernel);
  }
  return model;
}

}  // namespace dunlin
