#include "cli/options.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <limits>
#include <random>

#include "base/log.h"
#include "cli/argv.h"
#include "cli/inside_flags.h"
#include "cli/model_name.h"
#include "cli/numbers.h"
#include "convert/quantize_type.h"
#include "sampler/sampler.h"

namespace dunlin {
namespace {

// TOKEN_ID followed by a signed number, as in 15043+1 or 29905-0.5.
Result<std::pair<int32_t, float>> parse_logit_bias(const std::string& text) {
  const Error wrong =
      usage_error(fmt::format("\"{}\" is not of the form TOKEN_ID+BIAS or TOKEN_ID-BIAS", text));
  const size_t sign = text.find_first_of("+-");
  if (sign == std::string::npos) return wrong;
  int32_t id = 0;
  float bias = 0.0f;
  const std::string_view number = std::string_view(text).substr(sign + 1);
  if (!parse_number(text.substr(0, sign), id).empty() || number.starts_with('-') ||
      !parse_number(number, bias).empty())
    return wrong;
  if (text[sign] == '-') bias = -bias;
  return std::pair(id, bias);
}

template <typename T>
void choose(std::optional<T> given, const Metadata& config, const char* flag, T& value) {
  if (given.has_value()) {
    value = *given;
  } else if (const auto number = config.number(generation_key(flag), -1e30, 1e30); number.ok()) {
    value = static_cast<T>(*number);
  }
}

// For Flag::check: the range that the sampler gives one of its parameters.
template <typename T>
Check in_range_of(T SamplingParams::* field) {
  return {[field](const std::string& text) -> std::string {
    SamplingParams params;
    // A text that is no number gets its message when it is assigned.
    if (!parse_number(text, params.*field).empty()) return {};
    const auto valid = validate(params, std::numeric_limits<int32_t>::max());
    return valid.ok() ? std::string() : valid.error().message;
  }};
}

// The built-in value is what --help shows, though the model's configuration may have another.
template <typename T>
void add_sampling_flag(Command command, const char* names, std::optional<T>& value,
                       T SamplingParams::* field, const char* help) {
  add_flag(command, names, value, help)
      .check(in_range_of(field))
      .default_str(fmt::format("{}", SamplingParams{}.*field));
}

std::string check_logit_bias(const std::string& text) {
  const auto bias = parse_logit_bias(text);
  if (!bias.ok()) return bias.error().message;
  const auto valid = validate({.logit_bias = {*bias}}, std::numeric_limits<int32_t>::max());
  return valid.ok() ? std::string() : valid.error().message;
}

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
  note("device   {}, isa {}, {} threads, precision {}{}\n", model.options.backend, executable.isa(),
       executable.threads(), precision_name(model.options.precision),
       model.options.mesh.devices() == 1 ? "" : ", mesh " + to_string(model.options.mesh));
  const bool cut = model.options.context == 0 && model.limits.context < model.trained_context;
  note("context  {} tokens{}\n", model.limits.context,
       cut ? fmt::format(" of the model's {} (-c changes it)", model.trained_context)
           : std::string());
  note("loaded   in {:.2f} s, {:.1f} MB of weights\n", model.load_ms / 1e3,
       static_cast<double>(executable.weights_bytes()) / 1e6);
}

}  // namespace

Check quantize_type() {
  return {check_quantize_type};
}

const char* generation_key(std::string_view flag) {
  constexpr std::array<std::pair<std::string_view, const char*>, 5> kKeys = {{
      {"--temp", "generation.temperature"},
      {"--top-k", "generation.top_k"},
      {"--top-p", "generation.top_p"},
      {"--min-p", "generation.min_p"},
      {"--repeat-penalty", "generation.repetition_penalty"},
  }};
  const auto* const it =
      std::ranges::find(kKeys, flag, &std::pair<std::string_view, const char*>::first);
  return it == kKeys.end() ? nullptr : it->second;
}

void add_xla_option_flag(Command command, std::vector<std::string>& options) {
  add_flag(command, "--xla-option", options,
           "of pjrt: an option of the plug-in's compiler; may be repeated")
      .type_name("NAME=VALUE");
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
  add_flag(command, "--precision", precision, "the arithmetic (docs/decisions/0002-numerics.md)")
      .check(one_of({"auto", "exact", "int8", "f32"}));
  add_flag(command, "--load-mode", load_mode,
           "of a prepared directory: copy its weights into memory, or map the files")
      .check(one_of({"copy", "mmap"}));
  add_flag(command, "--offload", offload,
           "auto: for a prepared directory larger than memory, whose files are mapped: layers and "
           "experts that do not fit are read while it runs (DUNLIN_MEMORY_BUDGET=6G sets what may "
           "be in memory)")
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
  DUNLIN_ASSIGN_OR_RETURN(options.precision, parse_precision(precision));
  options.load_mode = load_mode == "mmap" ? LoadMode::mmap : LoadMode::copy;
  options.offload = offload == "auto";
  return options;
}

Result<Precision> parse_precision(const std::string& name) {
  if (name == "auto") return Precision::automatic;
  if (name == "exact") return Precision::exact;
  if (name == "int8") return Precision::int8;
  if (name == "f32") return Precision::f32;
  return usage_error(fmt::format("--precision {}: unknown profile (auto, exact, int8, f32)", name));
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
  add_layers_flag(command, layers, "run only the first N layers");
  add_disable_flag(command, disable);
  add_switch(command, "-q,--quiet", quiet, "no banner and no timings");
  add_switch(command, "-v,--verbose", verbose, "more on stderr: the kernels that were chosen");
  ignored.add_to(command);
}

Result<ModelOptions> ModelFlags::options() const {
  DUNLIN_ASSIGN_OR_RETURN(ModelOptions options, backend.options());
  options.threads = threads;
  options.sequences = parallel;
  options.rows = step.rows();
  options.layers = layers;
  DUNLIN_ASSIGN_OR_RETURN(options.context, parse_size("--ctx-size", context));
  options.disabled = disabled_optimizations(disable);
  return options;
}

void SamplingFlags::add_to(Command command) {
  const FlagGroup group(command, "Sampling");
  using P = SamplingParams;
  add_sampling_flag(command, "--temp,--temperature", temperature, &P::temperature,
                    "temperature; 0 is greedy");
  add_sampling_flag(command, "--top-k", top_k, &P::top_k, "keep the k best tokens (0: all)");
  add_sampling_flag(command, "--top-p", top_p, &P::top_p,
                    "keep the best tokens up to this probability (1: all)");
  add_sampling_flag(command, "--min-p", min_p, &P::min_p,
                    "keep tokens of at least this fraction of the best one's probability");
  add_sampling_flag(command, "--repeat-penalty", repeat_penalty, &P::repeat_penalty,
                    "divide the logits of recent tokens (1: off)");
  add_sampling_flag(command, "--repeat-last-n", repeat_last_n, &P::repeat_last_n,
                    "how many tokens are recent (-1: all)");
  add_sampling_flag(command, "--frequency-penalty", frequency_penalty, &P::frequency_penalty,
                    "subtract per occurrence in the answer");
  add_sampling_flag(command, "--presence-penalty", presence_penalty, &P::presence_penalty,
                    "subtract once for tokens in the answer");
  add_flag(command, "--logit-bias", logit_bias, "TOKEN_ID+BIAS or TOKEN_ID-BIAS; may be repeated")
      .check({check_logit_bias});
  add_flag(command, "-s,--seed", seed, "seed of the random numbers (default: a new one each time)");
}

Result<SamplingParams> SamplingFlags::params(const Metadata& config) const {
  SamplingParams params;
  choose(temperature, config, "--temp", params.temperature);
  choose(top_k, config, "--top-k", params.top_k);
  choose(top_p, config, "--top-p", params.top_p);
  choose(min_p, config, "--min-p", params.min_p);
  choose(repeat_penalty, config, "--repeat-penalty", params.repeat_penalty);
  params.repeat_last_n = repeat_last_n.value_or(params.repeat_last_n);
  params.frequency_penalty = frequency_penalty.value_or(params.frequency_penalty);
  params.presence_penalty = presence_penalty.value_or(params.presence_penalty);
  params.seed = seed.has_value() ? *seed : std::random_device{}();
  for (const std::string& text : logit_bias) {
    DUNLIN_ASSIGN_OR_RETURN(const auto bias, parse_logit_bias(text));
    params.logit_bias.push_back(bias);
  }
  return params;
}

Result<std::unique_ptr<Model>> load_with_banner(const ModelFlags& flags,
                                                const ModelOptions& options) {
  flags.ignored.warn();
  ProgressBar bar(!flags.quiet);
  ModelOptions with_progress = options;
  with_progress.progress = [&bar](double fraction, const std::string& what) {
    bar.update(fraction, what);
  };
  DUNLIN_ASSIGN_OR_RETURN(auto model, load_model(flags.model, with_progress));
  bar.clear();
  if (!flags.quiet) print_banner(*model);
  if (const std::string remark = model_note(flags.model); !flags.quiet && !remark.empty())
    note("note     {}\n", remark);
  if (flags.verbose) {
    for (const auto& [operation, kernel] : model->executable->kernels())
      note("kernel   {}: {}\n", operation, kernel);
  }
  return model;
}

}  // namespace dunlin
