#include "cli/options.h"

#include "cli/inside_flags.h"
#include "cli/terminal.h"

#include <fmt/format.h>

#include <charconv>
#include <random>

namespace dunlin {
namespace {

// TOKEN_ID followed by a signed number, as in 15043+1 or 29905-0.5.
Result<std::pair<int32_t, float>> parse_logit_bias(const std::string& text) {
  const Error wrong = usage_error(
      fmt::format("--logit-bias {}: not of the form TOKEN_ID+BIAS or TOKEN_ID-BIAS", text));
  const char* const end = text.data() + text.size();
  int32_t id = 0;
  const auto [after_id, id_error] = std::from_chars(text.data(), end, id);
  if (id_error != std::errc() || after_id == end || (*after_id != '+' && *after_id != '-'))
    return wrong;
  const char* const number = *after_id == '+' ? after_id + 1 : after_id;
  float bias = 0.0f;
  const auto [after_bias, bias_error] = std::from_chars(number, end, bias);
  if (bias_error != std::errc() || after_bias != end) return wrong;
  return std::pair(id, bias);
}

template <typename T>
void choose(std::optional<T> flag, const Metadata& config, const char* key, T& value) {
  if (flag.has_value()) {
    value = *flag;
  } else if (const auto number = config.number(key, -1e30, 1e30); number.ok()) {
    value = static_cast<T>(*number);
  }
}

void print_banner(const Model& model) {
  const Executable& executable = *model.executable;
  const Checkpoint& checkpoint = *model.checkpoint;
  const int64_t parameters = parameter_count(checkpoint);
  note("model    {} ({}, {:.1f} M parameters)\n", checkpoint.path(), model.program.model,
       static_cast<double>(parameters) / 1e6);
  note("formats  {}, {:.1f} MB\n", format_summary(checkpoint),
       static_cast<double>(tensor_bytes(checkpoint)) / 1e6);
  note("device   {}, isa {}, {} threads, precision {}\n", model.options.backend, executable.isa(),
       executable.threads(), precision_name(model.options.precision));
  const bool cut = model.options.context == 0 && model.limits.context < model.trained_context;
  note("context  {} tokens{}\n", model.limits.context,
       cut ? fmt::format(" of the model's {} (-c changes it)", model.trained_context)
           : std::string());
  note("loaded   in {:.2f} s, {:.1f} MB of weights\n", model.load_ms / 1e3,
       static_cast<double>(executable.weights_bytes()) / 1e6);
}

}  // namespace

Result<Precision> parse_precision(const std::string& name) {
  if (name == "auto") return Precision::automatic;
  if (name == "exact") return Precision::exact;
  if (name == "f32") return Precision::f32;
  return usage_error(fmt::format("--precision {}: unknown profile (auto, exact, f32)", name));
}

Result<int64_t> parse_size(const std::string& field, const std::string& text) {
  if (text == "auto") return 0;
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const std::string_view suffix(end, static_cast<size_t>(text.data() + text.size() - end));
  int64_t factor = 1;
  if (suffix == "k" || suffix == "K") factor = 1 << 10;
  if (suffix == "m" || suffix == "M") factor = 1 << 20;
  if (error != std::errc() || (factor == 1 && !suffix.empty()) || value < 0 ||
      value > (int64_t{1} << 31)) {
    return usage_error(fmt::format("{} {}: not a size", field, text));
  }
  return value * factor;
}

std::string environment_name(const std::string& long_name) {
  std::string name = "DUNLIN_ARG_" + long_name;
  for (char& letter : name) {
    if (letter == '-') letter = '_';
    if (letter >= 'a' && letter <= 'z') letter = static_cast<char>(letter - 'a' + 'A');
  }
  return name;
}

CLI::Option* add_switch(CLI::App& command, const std::string& names, bool& value,
                        const std::string& help) {
  CLI::Option* option = command.add_flag(names, value, help);
  return option->envname(environment_name(option->get_lnames().front()));
}

void ModelFlags::add_to(CLI::App& command) {
  add_flag(command, "model,-m,--model", model, "Hugging Face directory or .gguf file")->required();
  add_flag(command, "-c,--ctx-size,--max-model-len", context,
           "context in tokens (auto: the model's, at most 8192)");
  add_flag(command, "-t,--threads", threads, "threads (0: one per core)");
  add_flag(command, "--parallel,--max-num-seqs", parallel, "sequences at a time (-np)")
      ->check(CLI::Range(1, 1024));
  add_flag(command, "--ubatch-size,--prefill-chunk", ubatch, "prompt tokens of one step (-ub)")
      ->check(CLI::Range(1, 1 << 16));
  add_flag(command, "--backend", backend, "cpu, reference or pjrt");
  add_flag(command, "--device", device,
           "of pjrt: cpu-xla (default), tpu, gpu, or the path of a plug-in");
  add_flag(command, "--precision", precision,
           "auto, exact or f32 (docs/decisions/0002-numerics.md)");
  add_flag(command, "--layers", layers, "run only the first N layers")->check(CLI::Range(0, 4096));
  add_disable_flag(command, disable);
  add_switch(command, "-q,--quiet", quiet, "no banner and no timings");
  add_switch(command, "-v,--verbose", verbose, "more on stderr: the kernels that were chosen");
}

Result<ModelOptions> ModelFlags::options() const {
  ModelOptions options{.backend = backend,
                       .device = device,
                       .threads = threads,
                       .sequences = parallel,
                       .rows = ubatch,
                       .layers = layers};
  DUNLIN_ASSIGN_OR_RETURN(options.precision, parse_precision(precision));
  DUNLIN_ASSIGN_OR_RETURN(options.context, parse_size("--ctx-size", context));
  DUNLIN_ASSIGN_OR_RETURN(options.disabled, disabled_optimizations(disable));
  if (threads < 0 || threads > 1024)
    return usage_error(fmt::format("--threads {}: outside 0..1024", threads));
  return options;
}

void SamplingFlags::add_to(CLI::App& command) {
  add_flag(command, "--temp,--temperature", temperature, "temperature; 0 is greedy");
  add_flag(command, "--top-k", top_k, "keep the k best tokens (0: all)");
  add_flag(command, "--top-p", top_p, "keep the best tokens up to this probability (1: all)");
  add_flag(command, "--min-p", min_p,
           "keep tokens of at least this fraction of the best one's probability");
  add_flag(command, "--repeat-penalty", repeat_penalty,
           "divide the logits of recent tokens (1: off)");
  add_flag(command, "--repeat-last-n", repeat_last_n, "how many tokens are recent (-1: all)");
  add_flag(command, "--frequency-penalty", frequency_penalty,
           "subtract per occurrence in the answer");
  add_flag(command, "--presence-penalty", presence_penalty,
           "subtract once for tokens in the answer");
  add_flag(command, "--logit-bias", logit_bias, "TOKEN_ID+BIAS or TOKEN_ID-BIAS; may be repeated");
  add_flag(command, "-s,--seed", seed, "seed of the random numbers (default: a new one each time)");
}

Result<SamplingParams> SamplingFlags::params(const Metadata& config) const {
  SamplingParams params;
  choose(temperature, config, "generation.temperature", params.temperature);
  choose(top_k, config, "generation.top_k", params.top_k);
  choose(top_p, config, "generation.top_p", params.top_p);
  choose(min_p, config, "generation.min_p", params.min_p);
  choose(repeat_penalty, config, "generation.repetition_penalty", params.repeat_penalty);
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
  ProgressBar bar(!flags.quiet);
  ModelOptions with_progress = options;
  with_progress.progress = [&bar](double fraction, const std::string& what) {
    bar.update(fraction, what);
  };
  DUNLIN_ASSIGN_OR_RETURN(auto model, load_model(flags.model, with_progress));
  bar.clear();
  if (!flags.quiet) print_banner(*model);
  if (flags.verbose) {
    for (const auto& [operation, kernel] : model->executable->kernels())
      note("kernel   {}: {}\n", operation, kernel);
  }
  return model;
}

}  // namespace dunlin
