#include "parity/parity.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <set>

#include "engine/model.h"
#include "engine/sequence_runner.h"
#include "models/registry.h"
#include "parity/array_file.h"

namespace dunlin {
namespace {

std::string index_text(const Shape& shape, int64_t flat) {
  std::vector<int64_t> index(shape.size());
  for (size_t axis = shape.size(); axis > 0; --axis) {
    index[axis - 1] = flat % shape[axis - 1];
    flat /= shape[axis - 1];
  }
  return fmt::format("[{}]", fmt::join(index, ","));
}

ParityRow compare_floats(const std::string& name, const Array& ours, const Array& reference,
                         double tolerance) {
  ParityRow row{.name = name};
  if (ours.shape != reference.shape || reference.dtype != DType::f32) {
    row.max_abs_diff = std::numeric_limits<double>::infinity();
    row.where = fmt::format("shape [{}], reference [{}]", fmt::join(ours.shape, ","),
                            fmt::join(reference.shape, ","));
    return row;
  }
  double scale = 1.0;
  int64_t worst = -1;
  for (size_t i = 0; i < ours.floats.size(); ++i) {
    const double wanted = static_cast<double>(reference.floats[i]);
    const double difference = std::abs(static_cast<double>(ours.floats[i]) - wanted);
    if (std::isfinite(wanted)) scale = std::max(scale, std::abs(wanted));
    // A NaN is the largest difference there is.
    if (worst < 0 || !(difference <= row.max_abs_diff)) {
      row.max_abs_diff =
          std::isnan(difference) ? std::numeric_limits<double>::infinity() : difference;
      worst = static_cast<int64_t>(i);
    }
  }
  row.allowed = tolerance * scale;
  // An infinite reference allows any difference, but is never met.
  row.pass = std::isfinite(row.max_abs_diff) && row.max_abs_diff <= row.allowed;
  if (worst >= 0) {
    const auto at = static_cast<size_t>(worst);
    row.where = fmt::format("{}: {}, reference {}", index_text(ours.shape, worst), ours.floats[at],
                            reference.floats[at]);
  }
  return row;
}

ParityRow compare_ids(const std::string& name, const std::vector<int32_t>& ours,
                      const std::vector<int32_t>& reference) {
  ParityRow row{.name = name, .pass = ours == reference};
  for (size_t i = 0; i < std::min(ours.size(), reference.size()); ++i) {
    if (ours[i] == reference[i]) continue;
    row.max_abs_diff = std::abs(static_cast<double>(ours[i]) - static_cast<double>(reference[i]));
    row.where = fmt::format("[{}]: {}, reference {}", i, ours[i], reference[i]);
    break;
  }
  return row;
}

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

// Computes the reference's prompt and, fed with the reference's own continuation, the greedy logits.
Result<std::map<std::string, Array>> compute(Model& model, std::span<const int32_t> prompt,
                                             std::span<const int32_t> continuation,
                                             std::vector<std::string>& order) {
  DUNLIN_ASSIGN_OR_RETURN(SequenceRunner runner, SequenceRunner::create(model));
  using LogitRows = SequenceRunner::LogitRows;
  DUNLIN_ASSIGN_OR_RETURN(const StepOutput* output,
                          runner.run(prompt, RowClass::prompt, LogitRows::all));
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

  Array ids{.dtype = DType::i32};
  Array logits;
  for (size_t i = 0; i < continuation.size(); ++i) {
    const auto last = output->logits.back();
    logits.floats.insert(logits.floats.end(), last.row.begin(), last.row.end());
    ids.integers.push_back(
        static_cast<int32_t>(std::ranges::max_element(last.row) - last.row.begin()));
    if (i + 1 == continuation.size()) break;
    DUNLIN_ASSIGN_OR_RETURN(
        output, runner.run(continuation.subspan(i, 1), RowClass::generated, LogitRows::all));
  }
  ids.shape = {static_cast<int64_t>(ids.integers.size())};
  logits.shape = {ids.shape[0], model.vocabulary};
  values["greedy_ids"] = std::move(ids);
  values["greedy_logits"] = std::move(logits);
  order.insert(order.end(), {"greedy_ids", "greedy_logits"});
  return values;
}

// The reference's tensors that the model has a tap for. Only these are asked for: a tap keeps the
// back end from fusing across it, and the fused path is what wants checking.
Result<std::vector<std::string>> shared_taps(const Metadata& config, const ArrayFile& reference) {
  DUNLIN_ASSIGN_OR_RETURN(const Program program, record_model(config, {.taps = {"*"}}));
  std::vector<std::string> taps;
  for (const Output& output : program.outputs) {
    if (output.name != "logits" && reference.has(output.name)) taps.push_back(output.name);
  }
  return taps;
}

bool is_logits(const std::string& name) {
  return name == "logits" || name == "greedy_logits";
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
  std::error_code ignored;
  if (!options.dump.empty() && std::filesystem::equivalent(options.dump, reference_path, ignored)) {
    return usage_error(fmt::format("{}: the dump would replace the reference", options.dump));
  }
  DUNLIN_ASSIGN_OR_RETURN(const auto checkpoint, open_checkpoint(model_path));
  DUNLIN_ASSIGN_OR_RETURN(const int64_t vocabulary,
                          checkpoint->config().integer("vocab_size", 1, 1 << 24));
  DUNLIN_ASSIGN_OR_RETURN(const auto prompt, read_ids(reference, "input_ids", vocabulary));
  std::vector<int32_t> continuation;
  if (reference.has("greedy_ids")) {
    DUNLIN_ASSIGN_OR_RETURN(continuation, read_ids(reference, "greedy_ids", vocabulary));
  }

  DUNLIN_ASSIGN_OR_RETURN(const auto taps, shared_taps(checkpoint->config(), reference));
  const auto rows = static_cast<int64_t>(prompt.size());
  DUNLIN_ASSIGN_OR_RETURN(
      const auto model,
      load_model(model_path, {.backend = options.backend,
                              .device = options.device,
                              .precision = options.precision,
                              .threads = options.threads,
                              .isa = options.isa,
                              .context = rows + static_cast<int64_t>(continuation.size()),
                              .rows = rows,
                              .taps = taps,
                              .all_logits = true}));
  std::vector<std::string> order;
  DUNLIN_ASSIGN_OR_RETURN(auto values, compute(*model, prompt, continuation, order));
  if (!options.dump.empty()) {
    values["input_ids"] = {.dtype = DType::i32, .shape = {rows}, .integers = prompt};
    DUNLIN_RETURN_IF_ERROR(write_array_file(options.dump, values));
  }

  ParityReport report{.rows = {}, .ignored = {}, .isa = model->executable->isa()};
  std::set<std::string> compared = {"input_ids"};
  for (const std::string& name : order) {
    if (!reference.has(name)) continue;
    DUNLIN_ASSIGN_OR_RETURN(const Array wanted, reference.read(name));
    const Array& ours = values.at(name);
    const double tolerance = is_logits(name) ? options.tolerance : 3 * options.tolerance;
    report.rows.push_back(ours.dtype == DType::i32
                              ? compare_ids(name, ours.integers, wanted.integers)
                              : compare_floats(name, ours, wanted, tolerance));
    compared.insert(name);
  }
  if (report.rows.empty()) {
    return model_error(fmt::format("{}: no tensor that can be compared; it holds {}",
                                   reference.path(), fmt::join(reference.names(), " ")));
  }
  for (const std::string& name : reference.names()) {
    if (!compared.contains(name)) report.ignored.push_back(name);
  }
  if (report.rows.empty()) {
    return model_error(fmt::format("{}: nothing to compare: this model produces none of [{}]",
                                   reference.path(), fmt::join(report.ignored, ", ")));
  }
  return report;
}

}  // namespace dunlin
