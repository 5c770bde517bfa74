// Results beside those of an earlier run: which belong together, by how much they fell, and files that
// are none.
#include "cli/bench_compare.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "support/warning_test.h"

namespace dunlin {
namespace {

using Json = nlohmann::ordered_json;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

Json result(const std::vector<double>& rates) {
  return {{"schema_version", 1},
          {"model_filename", "/here/model.gguf"},
          {"model_type", "llama 135 M Q4_0"},
          {"backends", "CPU"},
          {"precision", "auto"},
          {"n_threads", 2},
          {"n_prompt", 512},
          {"n_gen", 0},
          {"n_depth", 0},
          {"n_ubatch", 512},
          {"cpu_info", "a processor"},
          {"isa", "avx2"},
          {"samples_ts", rates}};
}

Json with(Json object, const char* name, const Json& value) {
  object[name] = value;
  return object;
}

EarlierResults earlier(const Json& document) {
  auto results = EarlierResults::parse(document.dump(), "old.json");
  EXPECT_TRUE(results.ok()) << results.error().message;
  return *std::move(results);
}

using BenchCompareTest = WarningTest;

TEST(Median, IsInTheMiddle) {
  EXPECT_EQ(median({}), 0.0);
  EXPECT_EQ(median({3}), 3.0);
  EXPECT_EQ(median({9, 1, 2}), 2.0);
  EXPECT_EQ(median({9, 1, 2, 4}), 3.0);
}

TEST(ParseFraction, TakesPercentAndFractions) {
  EXPECT_DOUBLE_EQ(parse_fraction("5%").value(), 0.05);
  EXPECT_DOUBLE_EQ(parse_fraction("0.05").value(), 0.05);
  EXPECT_DOUBLE_EQ(parse_fraction("12.5%").value(), 0.125);
  for (const char* text :
       {"", "%", "0", "0%", "5", "1", "100%", "-5%", "5 %", " 5%", "5%%", "x%", "nan", "inf"}) {
    const auto fraction = parse_fraction(text);
    ASSERT_FALSE(fraction.ok()) << text;
    EXPECT_EQ(fraction.error().kind, ErrorKind::usage);
    EXPECT_THAT(fraction.error().message, HasSubstr(fmt::format("\"{}\"", text)));
  }
}

TEST_F(BenchCompareTest, TypesOfKeysAndValuesMakeOtherTests) {
  const auto matched = [](const Json& there, const Json& here) {
    BenchComparison comparison(earlier(Json::array({there})), std::nullopt);
    return !comparison.add(here)["ratio"].is_null();
  };
  const auto typed = [](const char* type) {
    return with(with(result({100}), "type_k", type), "type_v", type);
  };
  EXPECT_TRUE(matched(typed("int8"), typed("int8")));
  EXPECT_FALSE(matched(typed("bf16"), typed("int8")));
  EXPECT_FALSE(matched(typed("bf16"), with(typed("bf16"), "type_v", "int8")));
  // Older files have none: they kept what the precision keeps.
  EXPECT_TRUE(matched(result({100}), typed("bf16")));
  EXPECT_FALSE(matched(result({100}), typed("int8")));
  EXPECT_TRUE(
      matched(with(result({100}), "precision", "f32"), with(typed("f32"), "precision", "f32")));
}

TEST_F(BenchCompareTest, MediansOfTheSameTestAreCompared) {
  // Means would say the opposite: 67 and 227.
  BenchComparison comparison(earlier(Json::array({result({100, 100, 1})})), 0.05);
  const Json compared =
      comparison.add(with(result({90, 90, 500}), "model_filename", "/elsewhere/model.gguf"));
  EXPECT_EQ(compared["file"], "old.json");
  EXPECT_EQ(compared["earlier_median_ts"], 100.0);
  EXPECT_EQ(compared["median_ts"], 90.0);
  EXPECT_EQ(compared["ratio"], 0.9);
  EXPECT_EQ(compared["fell"], true);
  EXPECT_TRUE(comparison.finish().value());
  EXPECT_THAT(comparison.table(), HasSubstr("fell"));
  EXPECT_THAT(warnings_, IsEmpty());
}

TEST_F(BenchCompareTest, ASpeedMayFallByTheFraction) {
  for (const auto& [allowed, fell] : std::vector<std::pair<std::optional<double>, bool>>{
           {0.05, true}, {0.09, true}, {0.11, false}, {std::nullopt, false}}) {
    BenchComparison comparison(earlier(Json::array({result({100})})), allowed);
    EXPECT_EQ(comparison.add(result({90}))["fell"], fell);
    EXPECT_EQ(comparison.finish().value(), fell);
  }
  BenchComparison faster(earlier(Json::array({result({100})})), 0.01);
  EXPECT_EQ(faster.add(result({300}))["ratio"], 3.0);
  EXPECT_FALSE(faster.finish().value());
}

TEST_F(BenchCompareTest, EveryFieldOfTheTestCounts) {
  for (const char* field : kTestFields) {
    const Json other = std::string(field).starts_with("n_") ? Json(7) : Json("another");
    BenchComparison comparison(earlier(Json::array({with(result({100}), field, other)})), 0.05);
    const Json compared = comparison.add(result({1}));
    EXPECT_TRUE(compared["ratio"].is_null()) << field;
    EXPECT_TRUE(compared["earlier_median_ts"].is_null()) << field;
    EXPECT_EQ(compared["fell"], false) << field;
    const auto finished = comparison.finish();
    ASSERT_FALSE(finished.ok()) << field;
    EXPECT_EQ(finished.error().kind, ErrorKind::usage);
    EXPECT_THAT(finished.error().message, HasSubstr(fmt::format("differs in {} (", field)));
  }
}

TEST_F(BenchCompareTest, WithoutALimitNothingInCommonIsAWarning) {
  BenchComparison comparison(
      earlier(Json::array({with(with(result({100}), "n_threads", 4), "n_gen", 64),
                           with(result({100}), "n_threads", 4)})),
      std::nullopt);
  comparison.add(result({100}));
  EXPECT_FALSE(comparison.finish().value());
  ASSERT_EQ(warnings_.size(), 1u);
  EXPECT_EQ(warnings_[0],
            "old.json: none of its 2 results is of these tests; the nearest differs in n_threads "
            "(\"4\" there, \"2\" here)");
  EXPECT_THAT(comparison.table(), HasSubstr("2 results of old.json are of other tests"));
}

TEST_F(BenchCompareTest, AnotherMachineIsSaidOnce) {
  Json there = with(with(result({100}), "isa", "avx512"), "cpu_info", "another processor");
  BenchComparison comparison(earlier(Json::array({there, with(there, "n_gen", 9)})), 0.05);
  comparison.add(result({100}));
  comparison.add(with(result({100}), "n_gen", 9));
  EXPECT_THAT(
      warnings_,
      ElementsAre("old.json: cpu_info is \"another processor\" there and \"a processor\" here",
                  "old.json: isa is \"avx512\" there and \"avx2\" here"));
}

TEST_F(BenchCompareTest, OtherLayersAndOptimizationsAreSaid) {
  const auto warnings_of = [this](const Json& there, const Json& here) {
    warnings_.clear();
    BenchComparison comparison(earlier(Json::array({there})), 0.05);
    EXPECT_FALSE(comparison.add(here)["ratio"].is_null());
    return warnings_;
  };
  const Json whole = with(with(result({100}), "n_layers", 16), "disabled", "");
  EXPECT_THAT(warnings_of(whole, with(whole, "n_layers", 2)),
              ElementsAre("old.json: n_layers is \"16\" there and \"2\" here"));
  EXPECT_THAT(warnings_of(whole, with(whole, "disabled", "gqa")),
              ElementsAre("old.json: disabled is \"\" there and \"gqa\" here"));
  // Of a file from before both.
  EXPECT_THAT(warnings_of(result({100}), whole), IsEmpty());
  EXPECT_THAT(warnings_of(result({100}), with(whole, "disabled", "gqa")),
              ElementsAre("old.json: disabled is \"\" there and \"gqa\" here"));
}

TEST_F(BenchCompareTest, ResultsOfATestCountAsOne) {
  BenchComparison comparison(
      earlier({{"schema_version", 1}, {"results", {result({10, 20}), result({30})}}}), 0.05);
  EXPECT_EQ(comparison.add(result({20}))["earlier_median_ts"], 20.0);
}

TEST_F(BenchCompareTest, WrongFilesNameTheResultAndTheField) {
  const auto without = [](const char* name) {
    Json object = result({1});
    object.erase(name);
    return Json::array({result({1}), object}).dump();
  };
  const auto changed = [](const char* name, const Json& value) {
    return Json::array({with(result({1}), name, value)}).dump();
  };
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"", "not valid JSON"},
      {"[1,", "not valid JSON"},
      {"3", "not a list of results"},
      {"[]", "not a list of results"},
      {"[3]", "result 1: not an object"},
      {"{}", "schema_version is missing"},
      {R"({"schema_version": 2, "results": []})", "schema_version is \"2\"; this build reads 1"},
      {R"({"schema_version": 1})", "results is missing"},
      {R"({"schema_version": 1, "results": {}})", "not a list of results"},
      // What llama-bench writes has the names, and no schema.
      {without("schema_version"), "result 2: schema_version is missing"},
      {without("n_threads"), "result 2: n_threads is missing"},
      {without("precision"), "result 2: precision is missing"},
      {without("isa"), "result 2: isa is missing"},
      {without("samples_ts"), "result 2: samples_ts is missing"},
      {changed("n_prompt", "512"), "result 1: n_prompt is not an integer"},
      {changed("n_prompt", 0.5), "result 1: n_prompt is not an integer"},
      {changed("model_type", 3), "result 1: model_type is not a text"},
      {changed("samples_ts", 3), "result 1: samples_ts is not a list"},
      {changed("samples_ts", Json::array()), "result 1: samples_ts is not a list"},
      {changed("samples_ts", {1, 0}), "result 1: samples_ts is not a list"},
      {changed("samples_ts", {"1"}), "result 1: samples_ts is not a list"},
  };
  for (const auto& [text, problem] : cases) {
    const auto results = EarlierResults::parse(text, "old.json");
    ASSERT_FALSE(results.ok()) << text;
    EXPECT_EQ(results.error().kind, ErrorKind::usage) << text;
    EXPECT_THAT(results.error().message, testing::StartsWith("old.json: ")) << text;
    EXPECT_THAT(results.error().message, HasSubstr(problem));
  }
  const auto missing = EarlierResults::read("/nowhere/old.json");
  ASSERT_FALSE(missing.ok());
  EXPECT_EQ(missing.error().kind, ErrorKind::usage);
  EXPECT_THAT(missing.error().message, HasSubstr("/nowhere/old.json"));
}

}  // namespace
}  // namespace dunlin
