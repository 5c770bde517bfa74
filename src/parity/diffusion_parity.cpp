#include "parity/diffusion_parity.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <span>
#include <string_view>
#include <utility>

#include "engine/diffusion_runner.h"

namespace dunlin {
namespace {

// A number of the metadata.
template <typename T>
Result<T> parameter(const ArrayFile& reference, const char* name) {
  const auto it = reference.metadata().find(name);
  if (it == reference.metadata().end()) {
    return model_error(fmt::format("{}: __metadata__.{} is missing", reference.path(), name));
  }
  T value = 0;
  const std::string& text = it->second;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || stop != end) {
    return model_error(fmt::format("{}: __metadata__.{} is \"{}\", which is not a number",
                                   reference.path(), name, text));
  }
  return value;
}

template <typename T>
Result<T> parameter_or(const std::optional<T>& given, const ArrayFile& reference,
                       const char* name) {
  if (given.has_value()) return *given;
  return parameter<T>(reference, name);
}

Array ids_of(std::vector<int32_t> ids, Shape shape) {
  return {.dtype = DType::i32, .shape = std::move(shape), .integers = std::move(ids)};
}

// One loop from its prompt to its end.
struct Loop {
  std::vector<int32_t> canvas, history, decided;
  int64_t passes = 0;
};

class LoopRunner {
 public:
  LoopRunner(Model& model, DiffusionRunner runner, std::vector<int32_t> prompt, int32_t mask_id)
      : watch_(model.options.watch.get()),
        runner_(std::move(runner)),
        prompt_(std::move(prompt)),
        mask_id_(mask_id) {}

  Result<Loop> run(const DiffusionParams& params) {
    DUNLIN_ASSIGN_OR_RETURN(const auto canvas, runner_.open(prompt_, params, mask_id_));
    const DiffusionDecoder& decoder = canvas->decoder;
    Loop loop;
    const auto note_steps = [&loop, &decoder] {
      const auto size = decoder.canvas().size();
      while (loop.history.size() < decoder.decided().size() * size)
        loop.history.insert(loop.history.end(), decoder.canvas().begin(), decoder.canvas().end());
    };
    // Steps that were skipped before a pass left the canvas as it was.
    note_steps();
    DiffusionCanvas* const member = canvas.get();
    while (!canvas->over()) {
      const auto advanced = runner_.step(std::span(&member, 1));
      if (!advanced.ok()) return advanced.error();
      if (watch_ != nullptr && watch_->hit()) return *watch_->hit();
      note_steps();
    }
    runner_.close(*canvas);
    if (canvas->error) return *canvas->error;
    loop.canvas.assign(decoder.canvas().begin(), decoder.canvas().end());
    loop.decided.assign(decoder.decided().begin(), decoder.decided().end());
    loop.passes = decoder.forward_passes();
    return loop;
  }

 private:
  const Watch* watch_;
  DiffusionRunner runner_;
  std::vector<int32_t> prompt_;
  int32_t mask_id_;
};

// "diff.entropy.s16.ids": entropy, 16.
struct LoopName {
  DiffusionAlgorithm algorithm;
  int64_t steps;
};

std::optional<LoopName> parse_loop(std::string_view name) {
  constexpr std::string_view kPrefix = "diff.", kSuffix = ".ids";
  if (!name.starts_with(kPrefix) || !name.ends_with(kSuffix) ||
      name.size() <= kPrefix.size() + kSuffix.size())
    return std::nullopt;
  name.remove_prefix(kPrefix.size());
  name.remove_suffix(kSuffix.size());
  const size_t dot = name.rfind(".s");
  if (dot == std::string_view::npos) return std::nullopt;
  const auto algorithm = diffusion_algorithm(name.substr(0, dot));
  const std::string_view digits = name.substr(dot + 2);
  int64_t steps = 0;
  const auto [stop, error] = std::from_chars(digits.data(), digits.data() + digits.size(), steps);
  // The draws of `origin` are another generator's.
  if (!algorithm || *algorithm == DiffusionAlgorithm::origin || error != std::errc() ||
      stop != digits.data() + digits.size())
    return std::nullopt;
  return LoopName{*algorithm, steps};
}

struct Destination {
  std::map<std::string, Array>& values;
  std::vector<std::string>& order;

  void add(const std::string& name, Array array) {
    order.push_back(name);
    values[name] = std::move(array);
  }
};

Result<void> compute_schedules(LoopRunner& runner, const ArrayFile& reference,
                               DiffusionParams params, const DiffusionOverrides& overrides,
                               Destination into) {
  for (const std::string& name : reference.names()) {
    const auto parsed = parse_loop(name);
    if (!parsed) continue;
    DUNLIN_ASSIGN_OR_RETURN(params.eps, parameter_or(overrides.eps, reference, "diff_eps"));
    params.algorithm = parsed->algorithm;
    params.steps = parsed->steps;
    DUNLIN_ASSIGN_OR_RETURN(Loop loop, runner.run(params));
    const std::string stem = name.substr(0, name.size() - std::string_view(".ids").size());
    const auto size = std::ssize(loop.canvas);
    into.add(name, ids_of(std::move(loop.canvas), {size}));
    into.add(stem + ".history", ids_of(std::move(loop.history), {std::ssize(loop.decided), size}));
    const auto steps = std::ssize(loop.decided);
    into.add(stem + ".ntrans", ids_of(std::move(loop.decided), {steps}));
  }
  return {};
}

Result<void> compute_fast(LoopRunner& runner, const ArrayFile& reference, DiffusionParams params,
                          const DiffusionOverrides& overrides, Destination into) {
  struct Fast {
    const char* name;
    DiffusionCache cache;
    int64_t refresh_every;
  };
  constexpr Fast kLoops[] = {{"fast.nocache", DiffusionCache::none, 0},
                             {"fast.prefix", DiffusionCache::prefix, 0},
                             {"fast.dual", DiffusionCache::dual, 0},
                             {"fast.refreshed", DiffusionCache::dual, 1}};
  params.algorithm = DiffusionAlgorithm::confidence_threshold;
  for (const auto& [name, cache, refresh_every] : kLoops) {
    const std::string stem = name;
    if (!reference.has(stem + ".ids") && !reference.has(stem + ".nfe")) continue;
    DUNLIN_ASSIGN_OR_RETURN(params.threshold,
                            parameter_or(overrides.threshold, reference, "threshold"));
    params.cache = cache;
    params.refresh_every = refresh_every;
    if (cache == DiffusionCache::none) {
      DUNLIN_ASSIGN_OR_RETURN(params.steps,
                              parameter_or(overrides.fast_steps, reference, "fast_steps"));
    } else {
      DUNLIN_ASSIGN_OR_RETURN(params.block_length,
                              parameter_or(overrides.block_length, reference, "block_length"));
    }
    DUNLIN_ASSIGN_OR_RETURN(Loop loop, runner.run(params));
    const auto size = std::ssize(loop.canvas);
    into.add(stem + ".ids", ids_of(std::move(loop.canvas), {size}));
    into.add(stem + ".nfe", ids_of({static_cast<int32_t>(loop.passes)}, {1}));
  }
  return {};
}

bool has_loops(const ArrayFile& reference) {
  return std::ranges::any_of(reference.names(), [](const std::string& name) {
    return name.starts_with("diff.") || name.starts_with("fast.");
  });
}

}  // namespace

Result<void> compute_diffusion(Model& model, const ArrayFile& reference,
                               const std::vector<int32_t>& input_ids,
                               const DiffusionOverrides& overrides,
                               std::map<std::string, Array>& values,
                               std::vector<std::string>& order) {
  if (!has_loops(reference)) return {};
  DUNLIN_ASSIGN_OR_RETURN(const auto prompt_tokens, parameter<int64_t>(reference, "prompt_tokens"));
  DUNLIN_ASSIGN_OR_RETURN(const auto new_tokens, parameter<int64_t>(reference, "max_new_tokens"));
  DUNLIN_ASSIGN_OR_RETURN(const auto mask_id, parameter<int32_t>(reference, "mask_token_id"));
  if (mask_id < 0 || mask_id >= model.vocabulary) {
    return model_error(fmt::format("{}: __metadata__.mask_token_id is {}, outside 0..{}",
                                   reference.path(), mask_id, model.vocabulary - 1));
  }
  if (prompt_tokens < 1 || new_tokens < 0 || prompt_tokens > std::ssize(input_ids) ||
      new_tokens != std::ssize(input_ids) - prompt_tokens) {
    return model_error(
        fmt::format("{}: prompt_tokens {} and max_new_tokens {} are not the {} of input_ids",
                    reference.path(), prompt_tokens, new_tokens, input_ids.size()));
  }
  DUNLIN_ASSIGN_OR_RETURN(DiffusionRunner runner, DiffusionRunner::create(model));
  LoopRunner loops(
      model, std::move(runner),
      {input_ids.begin(), input_ids.begin() + static_cast<std::ptrdiff_t>(prompt_tokens)}, mask_id);
  const DiffusionParams params{.max_tokens = new_tokens};
  const Destination into{values, order};
  DUNLIN_RETURN_IF_ERROR(compute_schedules(loops, reference, params, overrides, into));
  return compute_fast(loops, reference, params, overrides, into);
}

}  // namespace dunlin
