// `bench model --compare FILE --fail-if P`: results beside those that an earlier `bench model` wrote,
// test by test, by the medians of their repetitions: one slow repetition moves a mean, and no median.
#pragma once

#include <array>
#include <cstddef>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"

namespace dunlin {

// Results that agree in these fields are of the same test. Of model_filename the last part counts;
// where type_k or type_v is missing, it is what the precision keeps.
inline constexpr std::array<const char*, 10> kTestFields = {
    "model_filename", "model_type", "backends", "precision", "n_threads",
    "n_prompt",       "n_gen",      "n_depth",  "type_k",    "type_v"};
// A comparison of results that differ in one of these is one of machines or settings: a warning says
// so. Older files lack the last two: any number of layers, and nothing disabled.
inline constexpr std::array<const char*, 5> kMachineFields = {"cpu_info", "isa", "n_ubatch",
                                                              "n_layers", "disabled"};

double median(std::vector<double> values);  // 0 of none

// "5%" or "0.05": above 0 and below 1. The error (kind usage) quotes the text.
Result<double> parse_fraction(const std::string& text);

struct TestFacts {
  std::array<std::string, kTestFields.size()> test;
  std::array<std::string, kMachineFields.size()> machine;
  std::vector<double> rates;  // tokens per second of each repetition
};

// What `bench model --json` or `-o json` wrote.
class EarlierResults {
 public:
  // Errors (kind usage) name the file, the number of the result and the field.
  static Result<EarlierResults> read(const std::string& path);
  static Result<EarlierResults> parse(const std::string& text, const std::string& origin);

  const std::string& origin() const { return origin_; }
  std::span<const TestFacts> tests() const { return tests_; }

 private:
  std::string origin_ = {};
  std::vector<TestFacts> tests_ = {};
};

class BenchComparison {
 public:
  // `fail_if`: the fraction that a speed may fall by; nothing: any.
  BenchComparison(EarlierResults earlier, std::optional<double> fail_if)
      : earlier_(std::move(earlier)), fail_if_(fail_if) {}

  // Takes a result of bench_json(). Returns what its field `compared` says; medians and their ratio
  // are null where the file has no such test. Several earlier results of the test count as one.
  nlohmann::ordered_json add(const nlohmann::ordered_json& result);

  // One line for each result.
  std::string table() const;

  // After the last result: whether some test fell by more than it may. Error (kind usage), or a
  // warning where nothing can fail: the file has none of the tests.
  Result<bool> finish() const;

 private:
  struct Row {
    TestFacts facts;
    double median_rate = 0;
    std::optional<double> earlier_rate;
    bool fell = false;
  };

  std::vector<double> earlier_rates(const TestFacts& facts);
  void warn_of_machine(const TestFacts& there, const TestFacts& here);
  std::string nothing_matched() const;

  EarlierResults earlier_;
  std::optional<double> fail_if_;
  std::vector<Row> rows_ = {};
  std::set<size_t> used_ = {};  // of the earlier tests
  std::set<std::string> warnings_ = {};
};

}  // namespace dunlin
