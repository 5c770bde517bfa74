// Execution and comparison of cases.
#include "case_runner.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>

namespace dunlin {
namespace {

CaseValue copy_value(const std::string& name, const View& view) {
  CaseValue value{name, view.dtype, view.shape, {}};
  const auto bytes = static_cast<size_t>(element_count(view.shape) * dtype_bytes(view.dtype));
  value.bytes.resize(bytes);
  if (bytes > 0) std::memcpy(value.bytes.data(), view.data, bytes);
  return value;
}

// Joins what `get` gives for each logit row.
template <typename Get>
CaseValue join_rows(const std::string& name, DType dtype, const std::vector<LogitsView>& rows,
                    Get get) {
  CaseValue value{name, dtype, {static_cast<int64_t>(rows.size())}, {}};
  for (const LogitsView& row : rows) {
    const auto elements = get(row);
    const auto bytes = std::as_bytes(std::span(elements));
    value.bytes.insert(value.bytes.end(), bytes.begin(), bytes.end());
    if (&row == &rows.front()) value.shape.push_back(static_cast<int64_t>(elements.size()));
  }
  return value;
}

std::vector<CaseValue> copy_output(const StepOutput& output) {
  std::vector<CaseValue> values;
  for (const TapView& tap : output.taps) values.push_back(copy_value(tap.name, tap.view));
  if (output.logits.empty()) return values;
  const auto& rows = output.logits;
  values.push_back(
      join_rows("logits", DType::f32, rows, [](const LogitsView& r) { return r.row; }));
  if (rows.front().ids.empty()) return values;
  values.push_back(join_rows("statistics", DType::f32, rows, [](const LogitsView& r) {
    return std::vector<float>{r.lse, r.entropy, r.varentropy, r.finite ? 1.0f : 0.0f};
  }));
  values.push_back(
      join_rows("candidate_ids", DType::i32, rows, [](const LogitsView& r) { return r.ids; }));
  values.push_back(join_rows("candidate_logits", DType::f32, rows,
                             [](const LogitsView& r) { return r.logits; }));
  return values;
}

bool both_nan(const CaseValue& a, const CaseValue& b, int64_t i) {
  return a.dtype == DType::f32 && std::isnan(a.f32()[i]) && std::isnan(b.f32()[i]);
}

bool same_bits(const CaseValue& a, const CaseValue& b, int64_t i) {
  const auto width = static_cast<size_t>(dtype_bytes(a.dtype));
  const size_t at = static_cast<size_t>(i) * width;
  return std::memcmp(a.bytes.data() + at, b.bytes.data() + at, width) == 0 || both_nan(a, b, i);
}

std::string element_text(const CaseValue& value, int64_t i) {
  if (value.dtype == DType::f32) return fmt::format("{:a} ({})", value.f32()[i], value.f32()[i]);
  if (value.dtype == DType::i32) return fmt::format("{}", value.i32()[i]);
  return fmt::format("{}", static_cast<int>(value.bytes[static_cast<size_t>(i)]));
}

// Where `same` is false first, or a structure that differs.
template <typename Same>
std::string find_difference(const CaseResult& actual, const CaseResult& expected, Same same) {
  if (actual.size() != expected.size()) return "a different number of steps";
  for (size_t step = 0; step < actual.size(); ++step) {
    if (actual[step].size() != expected[step].size()) {
      return fmt::format("step {}: {} outputs instead of {}", step, actual[step].size(),
                         expected[step].size());
    }
    for (size_t output = 0; output < actual[step].size(); ++output) {
      const CaseValue& a = actual[step][output];
      const CaseValue& b = expected[step][output];
      if (a.name != b.name || a.dtype != b.dtype || a.shape != b.shape) {
        return fmt::format("step {}: output {} is {} [{}] instead of {} [{}]", step, output, a.name,
                           fmt::join(a.shape, ","), b.name, fmt::join(b.shape, ","));
      }
      for (int64_t i = 0; i < a.size(); ++i) {
        if (same(a, b, i)) continue;
        return fmt::format("step {}, {} [{}], element {}: {} instead of {}", step, a.name,
                           fmt::join(a.shape, ","), i, element_text(a, i), element_text(b, i));
      }
    }
  }
  return "";
}

}  // namespace

Result<CaseResult> run_prepared(Backend& backend, const PreparedCase& prepared, Precision precision,
                                const std::string& isa, int threads,
                                std::optional<KvType> kv_type) {
  CompileOptions options;
  options.precision = precision;
  options.kv_type = kv_type;
  options.limits = prepared.limits;
  options.isa = isa;
  options.threads = threads;
  DUNLIN_ASSIGN_OR_RETURN(const std::unique_ptr<Executable> executable,
                          backend.compile(prepared.program, prepared.weights, options));
  DUNLIN_ASSIGN_OR_RETURN(const std::unique_ptr<KvState> state,
                          executable->make_kv_state(prepared.pages_per_group));
  CaseResult result;
  for (const StepPlan& plan : prepared.plans) {
    DUNLIN_RETURN_IF_ERROR(validate(plan, prepared.program, prepared.limits, *state));
    StepOutput output;
    executable->run(plan, *state, output);
    if (output.failure) return *output.failure;
    result.push_back(copy_output(output));
  }
  return result;
}

Result<CaseResult> run_case(Backend& backend, const OperationCase& operation_case,
                            Precision precision, const CaseVariation& variation,
                            std::optional<KvType> kv_type) {
  DUNLIN_ASSIGN_OR_RETURN(const PreparedCase prepared, prepare_case(operation_case, variation));
  return run_prepared(backend, prepared, precision, "", 1, kv_type);
}

std::string first_difference(const CaseResult& actual, const CaseResult& expected) {
  return find_difference(actual, expected, same_bits);
}

std::string first_distance(const CaseResult& actual, const CaseResult& expected, float tolerance) {
  return find_difference(actual, expected,
                         [tolerance](const CaseValue& a, const CaseValue& b, int64_t i) {
                           if (same_bits(a, b, i)) return true;
                           if (a.dtype != DType::f32) return false;
                           const float limit = tolerance * std::max(1.0f, std::fabs(b.f32()[i]));
                           return std::fabs(a.f32()[i] - b.f32()[i]) <= limit;
                         });
}

}  // namespace dunlin
