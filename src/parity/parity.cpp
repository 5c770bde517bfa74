#include "parity/parity.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <map>

#include "engine/model.h"
#include "engine/sequence_runner.h"
#include "models/registry.h"
#include "parity/array_file.h"
#include "parity/compare.h"

namespace dunlin {
namespace {

void append_logits(const StepOutput& output, Array& into) {
  for (const LogitsView& view : output.logits) {
    into.floats.insert(into.floats.end(), view.row.begin(), view.row.end());
    into.shape = {into.shape.empty() ? 1 : into.shape[0] + 1,
                  static_cast<int64_t>(view.row.size())};
  }
}

Result<std::vector<int32_t>> read_ids(const ArrayFile& file, const std::string& name,
                                      int64_t vocabulary) {
  DUNLIN_ASSIGN_OR_RETURN(Array array, file.read(name));
  if (array.dtype != DType::i32 || array.integers.empty()) {
    return model_error(fmt::format("{}: {} is not a non-empty int32 array", file.path(), name));
  }
  for (const int32_t id : array.integers) {
    if (id < 0 || id >= vocabulary) {
      return model_error(fmt::format("{}: {} holds {}, outside the vocabulary of {}", file.path(),
                                     name, id, vocabulary));
    }
  }
  return std::move(array.integers);
}

// The reference's tensors that the model has a tap for. Only these are asked for: a tap keeps the
// back end from fusing across it, and the fused path is what wants checking.
Result<std::vector<std::string>> shared_taps(const Metadata& config, const ArrayFile& reference,
                                             int64_t layers) {
  DUNLIN_ASSIGN_OR_RETURN(const Program program,
                          record_model(config, {.taps = {"*"}, .layers = layers}));
  std::vector<std::string> taps;
  for (const Output& output : program.outputs) {
    if (output.name != "logits" && reference.has(output.name)) taps.push_back(output.name);
  }
  return taps;
}

bool is_logits(const std::string& name) {
  return name == "logits" || name == "greedy_logits";
}

// Of a truncated model these follow from another layer than the reference's.
bool is_behind_the_last_layer(const std::string& name) {
  return is_logits(name) || name == "final_norm" || name == "greedy_ids";
}

Result<bool> is_truncated(const Metadata& config, int64_t layers) {
  DUNLIN_ASSIGN_OR_RETURN(const int64_t all, config.integer("num_hidden_layers", 1, 4096));
  return layers >= 0 && layers < all;
}

Result<void> check_watch(const Watch* watch) {
  if (watch != nullptr && watch->hit()) return *watch->hit();
  return {};
}

Array ids_array(std::vector<int32_t> ids) {
  return {
      .dtype = DType::i32, .shape = {static_cast<int64_t>(ids.size())}, .integers = std::move(ids)};
}

// Computes the reference's prompt and, fed with the reference's own continuation, the greedy logits.
Result<std::map<std::string, Array>> compute(Model& model, std::span<const int32_t> prompt,
                                             std::span<const int32_t> continuation,
                                             std::vector<std::string>& order) {
  const Watch* const watch = model.options.watch.get();
  DUNLIN_ASSIGN_OR_RETURN(SequenceRunner runner, SequenceRunner::create(model));
  using LogitRows = SequenceRunner::LogitRows;
  DUNLIN_ASSIGN_OR_RETURN(const StepOutput* output,
                          runner.run(prompt, RowClass::prompt, LogitRows::all));
  DUNLIN_RETURN_IF_ERROR(check_watch(watch));
  std::map<std::string, Array> values;
  for (const TapView& tap : output->taps) {
    const int64_t count = element_count(tap.view.shape);
    Array array{.dtype = tap.view.dtype, .shape = tap.view.shape};
    if (array.dtype == DType::f32) {
      array.floats.assign(tap.view.f32(), tap.view.f32() + count);
    } else {
      array.integers.assign(tap.view.i32(), tap.view.i32() + count);
    }
    order.push_back(tap.name);
    values.emplace(tap.name, std::move(array));
  }
  append_logits(*output, values["logits"]);
  order.emplace_back("logits");
  if (continuation.empty()) return values;

  std::vector<int32_t> ids;
  Array logits;
  for (size_t i = 0; i < continuation.size(); ++i) {
    const auto last = output->logits.back();
    logits.floats.insert(logits.floats.end(), last.row.begin(), last.row.end());
    ids.push_back(static_cast<int32_t>(std::ranges::max_element(last.row) - last.row.begin()));
    if (i + 1 == continuation.size()) break;
    DUNLIN_ASSIGN_OR_RETURN(
        output, runner.run(continuation.subspan(i, 1), RowClass::generated, LogitRows::all));
    DUNLIN_RETURN_IF_ERROR(check_watch(watch));
  }
  logits.shape = {std::ssize(ids), model.vocabulary};
  values["greedy_ids"] = ids_array(std::move(ids));
  values["greedy_logits"] = std::move(logits);
  order.insert(order.end(), {"greedy_ids", "greedy_logits"});
  return values;
}

// Tells a dump from every other safetensors file, a model's above all.
const std::map<std::string, std::string> kDumpMark = {{"written_by", "dunlin verify --dump"}};

// Nothing but an older dump is replaced, and not the one that is the reference.
Result<void> check_dump(const std::string& path, const std::string& reference) {
  std::error_code ignored;
  if (path.empty() || !std::filesystem::exists(path, ignored)) return {};
  if (std::filesystem::equivalent(path, reference, ignored))
    return usage_error(fmt::format("{}: the dump would replace the reference", path));
  const auto file = ArrayFile::open(path);
  if (file.ok() && file->metadata() == kDumpMark) return {};
  return usage_error(fmt::format("{}: is there and is no dump of verify", path));
}

// What a reference asks of a model.
struct Question {
  std::vector<int32_t> prompt;
  std::vector<int32_t> continuation;  // greedy_ids, or nothing
  std::vector<std::string> taps;
  bool truncated = false;  // by --layers
};

Result<Question> read_question(const std::string& model_path, const ArrayFile& reference,
                               int64_t layers) {
  DUNLIN_ASSIGN_OR_RETURN(const auto checkpoint, open_checkpoint(model_path));
  const Metadata& config = checkpoint->config();
  DUNLIN_ASSIGN_OR_RETURN(const int64_t vocabulary, config.integer("vocab_size", 1, 1 << 24));
  Question question;
  DUNLIN_ASSIGN_OR_RETURN(question.truncated, is_truncated(config, layers));
  DUNLIN_ASSIGN_OR_RETURN(question.prompt, read_ids(reference, "input_ids", vocabulary));
  DUNLIN_ASSIGN_OR_RETURN(const auto diffusion, diffusion_of(config));
  if (reference.has("greedy_ids") && !question.truncated && !diffusion) {
    DUNLIN_ASSIGN_OR_RETURN(question.continuation, read_ids(reference, "greedy_ids", vocabulary));
  }
  DUNLIN_ASSIGN_OR_RETURN(question.taps, shared_taps(config, reference, layers));
  return question;
}

ModelOptions model_options(const ParityOptions& options, const Question& question) {
  const auto rows = static_cast<int64_t>(question.prompt.size());
  return {.backend = options.backend,
          .device = options.device,
          .mesh = options.mesh,
          .xla_options = options.xla_options,
          .isolate = options.isolate,
          .precision = options.precision,
          .kv_type = options.kv_type,
          .load_mode = options.load_mode,
          .pack_cache = options.pack_cache,
          .offload = options.offload,
          .threads = options.threads,
          .isa = options.isa,
          .context = rows + static_cast<int64_t>(question.continuation.size()),
          .rows = rows,
          .layers = options.layers,
          .taps = question.taps,
          .logit_rows = rows,
          .quantize = options.quantize,
          .disabled = options.disabled,
          .watch = options.watch,
          // A reference is compared wherever it was computed.
          .any_context = true};
}

// Compares what both have, in the order of computation.
Result<std::vector<ParityRow>> compare(const std::map<std::string, Array>& values,
                                       const std::vector<std::string>& order,
                                       const ArrayFile& reference, double tolerance) {
  std::vector<ParityRow> rows;
  for (const std::string& name : order) {
    if (!reference.has(name)) continue;
    DUNLIN_ASSIGN_OR_RETURN(const Array wanted, reference.read(name));
    const Array& ours = values.at(name);
    rows.push_back(compare_arrays(name, ours, wanted, is_logits(name) ? tolerance : 3 * tolerance));
  }
  return rows;
}

}  // namespace

int64_t ParityReport::passed() const {
  return std::ranges::count_if(rows, [](const ParityRow& row) { return row.pass; });
}

double ParityReport::max_abs_diff() const {
  double largest = 0;
  for (const ParityRow& row : rows) largest = std::max(largest, row.max_abs_diff);
  return largest;
}

std::optional<std::string> ParityReport::first_failure() const {
  const auto it = std::ranges::find_if(rows, [](const ParityRow& row) { return !row.pass; });
  return it == rows.end() ? std::nullopt : std::optional(it->name);
}

Result<ParityReport> compare_with_reference(const std::string& model_path,
                                            const std::string& reference_path,
                                            const ParityOptions& options) {
  DUNLIN_ASSIGN_OR_RETURN(const ArrayFile reference, ArrayFile::open(reference_path));
  DUNLIN_RETURN_IF_ERROR(check_dump(options.dump, reference_path));
  DUNLIN_ASSIGN_OR_RETURN(const Question question,
                          read_question(model_path, reference, options.layers));
  DUNLIN_ASSIGN_OR_RETURN(const auto model,
                          load_model(model_path, model_options(options, question)));
  std::vector<std::string> order;
  DUNLIN_ASSIGN_OR_RETURN(auto values,
                          compute(*model, question.prompt, question.continuation, order));
  if (model->diffusion && !question.truncated) {
    DUNLIN_RETURN_IF_ERROR(
        compute_diffusion(*model, reference, question.prompt, options.diffusion, values, order));
  }
  values["input_ids"] = ids_array(question.prompt);
  if (!options.dump.empty())
    DUNLIN_RETURN_IF_ERROR(write_array_file(options.dump, values, kDumpMark));

  if (question.truncated) std::erase_if(order, is_behind_the_last_layer);
  ParityReport report{.rows = {}, .ignored = {}, .isa = model->executable->isa()};
  DUNLIN_ASSIGN_OR_RETURN(report.rows, compare(values, order, reference, options.tolerance));
  for (const std::string& name : reference.names()) {
    if (name != "input_ids" &&
        std::ranges::find(report.rows, name, &ParityRow::name) == report.rows.end())
      report.ignored.push_back(name);
  }
  // A prompt alone asks for a dump.
  const bool only_dump = report.ignored.empty() && !options.dump.empty();
  if (report.rows.empty() && !only_dump) {
    return model_error(fmt::format("{}: nothing to compare: this model{} produces none of [{}]",
                                   reference.path(), question.truncated ? ", cut by --layers," : "",
                                   fmt::join(report.ignored, ", ")));
  }
  return report;
}

}  // namespace dunlin
