#include "cli/bench_compare.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <string_view>

#include "backend/api.h"
#include "base/byte_source.h"
#include "base/json_document.h"
#include "base/log.h"
#include "base/text_checks.h"
#include "cli/bench_model.h"
#include "cli/numbers.h"
#include "report/table.h"

namespace dunlin {
namespace {

using OrderedJson = nlohmann::ordered_json;

constexpr uint64_t kMostEarlierBytes = 64u << 20;
constexpr const char* kWriter = "`dunlin bench model --json`";

// The last part of a path: the same file may lie elsewhere.
std::string file_name(std::string path) {
  while (path.size() > 1 && path.ends_with('/')) path.pop_back();
  return path.substr(path.rfind('/') + 1);
}

// Of results from before keys and values had a choice.
template <typename Json>
std::string only_kv_type(const Json& result) {
  const auto precision = result.find("precision");
  const bool f32 = precision != result.end() && *precision == "f32";
  return kv_type_name(f32 ? KvType::f32 : KvType::bf16);
}

// A text as it is, an integer in digits.
template <typename Json>
Result<std::string> field_of(const Json& result, std::string_view name) {
  const auto it = result.find(std::string(name));
  if (it == result.end() && name.starts_with("type_")) return only_kv_type(result);
  if (it == result.end() && (name == "n_layers" || name == "disabled")) return std::string();
  if (it == result.end()) return usage_error(fmt::format("{} is missing", name));
  if (name.starts_with("n_")) {
    if (!it->is_number_integer()) return usage_error(fmt::format("{} is not an integer", name));
    return it->dump();
  }
  if (!it->is_string()) return usage_error(fmt::format("{} is not a text", name));
  const std::string text = it->template get<std::string>();
  return name == "model_filename" ? file_name(text) : text;
}

template <typename Json>
Result<std::vector<double>> rates_of(const Json& result) {
  const Error wrong = usage_error("samples_ts is not a list of numbers above 0");
  const auto samples = result.find("samples_ts");
  if (samples == result.end()) return usage_error("samples_ts is missing");
  if (!samples->is_array() || samples->empty()) return wrong;
  std::vector<double> rates;
  for (const Json& sample : *samples) {
    if (!sample.is_number() || sample.template get<double>() <= 0) return wrong;
    rates.push_back(sample.template get<double>());
  }
  return rates;
}

template <typename Json>
Result<void> check_schema(const Json& object) {
  if (!object.is_object()) return usage_error("not an object");
  const auto version = object.find("schema_version");
  if (version == object.end())
    return usage_error(fmt::format("schema_version is missing: {} did not write this", kWriter));
  if (*version != 1)
    return usage_error(
        fmt::format("schema_version is {}; this build reads 1", quoted_text(version->dump())));
  return {};
}

template <typename Json>
Result<TestFacts> facts_of(const Json& result) {
  DUNLIN_RETURN_IF_ERROR(check_schema(result));
  TestFacts facts;
  for (size_t i = 0; i < kTestFields.size(); ++i) {
    DUNLIN_ASSIGN_OR_RETURN(facts.test[i], field_of(result, kTestFields[i]));
  }
  for (size_t i = 0; i < kMachineFields.size(); ++i) {
    DUNLIN_ASSIGN_OR_RETURN(facts.machine[i], field_of(result, kMachineFields[i]));
  }
  DUNLIN_ASSIGN_OR_RETURN(facts.rates, rates_of(result));
  return facts;
}

// The fields in which two tests differ: "n_threads ("2" there, "1" here)".
std::vector<std::string> differences(const TestFacts& there, const TestFacts& here) {
  std::vector<std::string> texts;
  for (size_t i = 0; i < kTestFields.size(); ++i) {
    if (there.test[i] == here.test[i]) continue;
    texts.push_back(fmt::format("{} ({} there, {} here)", kTestFields[i],
                                quoted_text(there.test[i]), quoted_text(here.test[i])));
  }
  return texts;
}

// "pp512", of fields that bench_json() wrote.
std::string test_name(const TestFacts& facts) {
  BenchTest test;
  parse_number(facts.test[5], test.prompt);
  parse_number(facts.test[6], test.generate);
  parse_number(facts.test[7], test.depth);
  return test.name();
}

}  // namespace

double median(std::vector<double> values) {
  if (values.empty()) return 0.0;
  std::ranges::sort(values);
  const size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
}

Result<double> parse_fraction(const std::string& text) {
  const bool percent = text.ends_with('%');
  double value = 0;
  const std::string problem =
      parse_number(std::string_view(text).substr(0, text.size() - (percent ? 1 : 0)), value);
  if (percent) value /= 100;
  if (problem.empty() && value > 0 && value < 1) return value;
  return usage_error(
      fmt::format("\"{}\" is not a fraction above 0 and below 1, such as 5% or 0.05", text));
}

Result<EarlierResults> EarlierResults::read(const std::string& path) {
  const auto text = read_text_file(path, kMostEarlierBytes);
  if (!text.ok()) return usage_error(text.error().message);
  return parse(*text, path);
}

Result<EarlierResults> EarlierResults::parse(const std::string& text, const std::string& origin) {
  const auto document = parse_json_value(text, origin);
  if (!document.ok()) return usage_error(document.error().message);
  const nlohmann::json* list = &*document;
  if (list->is_object()) {
    if (const auto known = check_schema(*list); !known.ok())
      return known.error().with_context(origin);
    const auto results = list->find("results");
    if (results == list->end())
      return usage_error(
          fmt::format("{}: results is missing: {} did not write this", origin, kWriter));
    list = &*results;
  }
  if (!list->is_array() || list->empty())
    return usage_error(fmt::format("{}: not a list of results, as {} writes it", origin, kWriter));
  EarlierResults earlier;
  earlier.origin_ = origin;
  for (const nlohmann::json& each : *list) {
    auto facts = facts_of(each);
    if (!facts.ok()) {
      return facts.error().with_context(
          fmt::format("{}: result {}", origin, earlier.tests_.size() + 1));
    }
    earlier.tests_.push_back(*std::move(facts));
  }
  return earlier;
}

OrderedJson BenchComparison::add(const OrderedJson& result) {
  auto facts = facts_of(result);
  DUNLIN_CHECK(facts.ok(), "a result of bench_json() lacks a field");
  Row row{.facts = *std::move(facts), .earlier_rate = std::nullopt};
  row.median_rate = median(row.facts.rates);
  OrderedJson compared = {{"file", earlier_.origin()},
                          {"earlier_median_ts", nullptr},
                          {"median_ts", row.median_rate},
                          {"ratio", nullptr},
                          {"fell", false}};
  if (const std::vector<double> rates = earlier_rates(row.facts); !rates.empty()) {
    row.earlier_rate = median(rates);
    const double ratio = row.median_rate / *row.earlier_rate;
    row.fell = fail_if_.has_value() && ratio < 1 - *fail_if_;
    compared["earlier_median_ts"] = *row.earlier_rate;
    compared["ratio"] = ratio;
    compared["fell"] = row.fell;
  }
  rows_.push_back(std::move(row));
  return compared;
}

std::vector<double> BenchComparison::earlier_rates(const TestFacts& facts) {
  std::vector<double> rates;
  for (size_t i = 0; i < earlier_.tests().size(); ++i) {
    const TestFacts& there = earlier_.tests()[i];
    if (there.test != facts.test) continue;
    used_.insert(i);
    warn_of_machine(there, facts);
    rates.insert(rates.end(), there.rates.begin(), there.rates.end());
  }
  return rates;
}

void BenchComparison::warn_of_machine(const TestFacts& there, const TestFacts& here) {
  for (size_t i = 0; i < kMachineFields.size(); ++i) {
    if (there.machine[i] == here.machine[i]) continue;
    const bool layers = std::string_view(kMachineFields[i]) == "n_layers";
    if (layers && (there.machine[i].empty() || here.machine[i].empty())) continue;
    const std::string warning =
        fmt::format("{}: {} is {} there and {} here", earlier_.origin(), kMachineFields[i],
                    quoted_text(there.machine[i]), quoted_text(here.machine[i]));
    if (warnings_.insert(warning).second) log_warning(warning);
  }
}

std::string BenchComparison::table() const {
  std::vector<std::vector<std::string>> rows;
  for (const Row& row : rows_) {
    const bool known = row.earlier_rate.has_value();
    rows.push_back({row.facts.test[0], row.facts.test[4], test_name(row.facts),
                    known ? fmt::format("{:.2f}", *row.earlier_rate) : "-",
                    fmt::format("{:.2f}", row.median_rate),
                    known ? fmt::format("{:.3f}", row.median_rate / *row.earlier_rate) : "-",
                    row.fell ? "fell" : ""});
  }
  const std::vector<TableColumn> columns = {
      {"model"},     {"threads", true}, {"test"}, {"earlier", true},
      {"now", true}, {"ratio", true},   {""}};
  std::string text = fmt::format("Medians of tokens per second beside {}\n{}", earlier_.origin(),
                                 aligned_table(columns, rows));
  if (const size_t missing = earlier_.tests().size() - used_.size(); missing > 0)
    text += fmt::format("{} results of {} are of other tests\n", missing, earlier_.origin());
  return text;
}

std::string BenchComparison::nothing_matched() const {
  std::vector<std::string> nearest;
  for (const Row& row : rows_) {
    for (const TestFacts& there : earlier_.tests()) {
      const std::vector<std::string> texts = differences(there, row.facts);
      if (nearest.empty() || texts.size() < nearest.size()) nearest = texts;
    }
  }
  return fmt::format("{}: none of its {} results is of these tests; the nearest differs in {}",
                     earlier_.origin(), earlier_.tests().size(), fmt::join(nearest, ", "));
}

Result<bool> BenchComparison::finish() const {
  if (used_.empty() && !rows_.empty()) {
    if (fail_if_.has_value()) return usage_error(nothing_matched());
    log_warning(nothing_matched());
  }
  return std::ranges::any_of(rows_, &Row::fell);
}

}  // namespace dunlin
