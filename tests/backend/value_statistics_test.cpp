// Statistics of values, and the conditions on them.
#include "backend/value_statistics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace dunlin {
namespace {

constexpr float kNotANumber = std::numeric_limits<float>::quiet_NaN();
constexpr float kInf = std::numeric_limits<float>::infinity();

ValueStatistics statistics(const std::vector<float>& values) {
  return statistics_of({DType::f32, {static_cast<int64_t>(values.size())}, values.data()});
}

bool holds(const std::string& condition, const std::vector<float>& values) {
  return WatchCondition::parse(condition).value().holds(statistics(values));
}

TEST(ValueStatistics, OfFloats) {
  const ValueStatistics s = statistics({-3, 1, 2, -2});
  EXPECT_EQ(s.count, 4);
  EXPECT_EQ(s.nonfinite, 0);
  EXPECT_EQ(s.min, -3);
  EXPECT_EQ(s.max, 2);
  EXPECT_EQ(s.absmax, 3);
  EXPECT_EQ(s.mean, -0.5);
  EXPECT_DOUBLE_EQ(s.rms, std::sqrt(18.0 / 4));
}

TEST(ValueStatistics, CountWhatIsNotFiniteAndLookAtTheRest) {
  const ValueStatistics s = statistics({kNotANumber, 5, -kInf, 7, kInf});
  EXPECT_EQ(s.count, 5);
  EXPECT_EQ(s.nonfinite, 3);
  EXPECT_EQ(s.min, 5);
  EXPECT_EQ(s.max, 7);
  EXPECT_EQ(s.mean, 6);
  const ValueStatistics none = statistics({kNotANumber});
  EXPECT_EQ(none.nonfinite, 1);
  EXPECT_EQ(none.absmax, 0);
  EXPECT_EQ(statistics({}).count, 0);
}

TEST(ValueStatistics, OfIntegersAndBooleans) {
  const std::vector<int32_t> ids = {4, -9};
  EXPECT_EQ(statistics_of({DType::i32, {2, 1}, ids.data()}).absmax, 9);
  const std::vector<uint8_t> flags = {0, 1, 1, 0};
  EXPECT_EQ(statistics_of({DType::boolean, {4}, flags.data()}).mean, 0.5);
}

TEST(WatchCondition, ComparesOneStatistic) {
  EXPECT_TRUE(holds("absmax>1e4", {1, -10001}));
  EXPECT_FALSE(holds("absmax>1e4", {1, -10000}));
  EXPECT_TRUE(holds("absmax>=1e4", {1, -10000}));
  EXPECT_TRUE(holds("min<-2", {1, -3}));
  EXPECT_FALSE(holds("min<-3", {1, -3}));
  EXPECT_TRUE(holds("rms<=1", {1, -1}));
  EXPECT_TRUE(holds("mean>0.5", {0, 2}));
  EXPECT_FALSE(holds("max>2", {0, 2}));
}

TEST(WatchCondition, HoldsWhereAValueIsNotFinite) {
  for (const char* condition : {"nonfinite", "absmax>1e4", "min<-1e4", "rms<=0"})
    EXPECT_TRUE(holds(condition, {1, kNotANumber})) << condition;
  EXPECT_FALSE(holds("nonfinite", {1, 2}));
  EXPECT_FALSE(holds("nonfinite>=2", {1, kInf}));
  EXPECT_TRUE(holds("nonfinite>=2", {kNotANumber, kInf}));
  EXPECT_FALSE(holds("min<=0", {}));
  EXPECT_THAT(WatchCondition::parse("absmax>1e4").value().reading(statistics({1, kNotANumber})),
              testing::StrEq("absmax 1 (1 of 2 values are not finite)"));
}

TEST(WatchCondition, AnythingElseIsAUsageErrorThatSaysHow) {
  for (const char* text : {"", "absmax", "nonfinites", "absmax>", "absmax>x", "absmax>1e4x",
                           "absmax=1", "size>3", ">3", "absmax>inf", "absmax>nan", "absmax >1"}) {
    const auto condition = WatchCondition::parse(text);
    ASSERT_FALSE(condition.ok()) << text;
    EXPECT_EQ(condition.error().kind, ErrorKind::usage);
    EXPECT_THAT(condition.error().message, testing::HasSubstr("absmax>1e4"));
  }
}

}  // namespace
}  // namespace dunlin
