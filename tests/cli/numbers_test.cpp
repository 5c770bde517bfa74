#include "cli/numbers.h"

#include <gtest/gtest.h>

#include <cstdint>

namespace dunlin {
namespace {

template <typename T>
std::string problem_of(const char* text) {
  T value = 7;
  const std::string problem = parse_number(text, value);
  if (!problem.empty()) {
    EXPECT_EQ(value, T{7}) << text;
  }
  return problem;
}

template <typename T>
T value_of(const char* text) {
  T value = 7;
  EXPECT_EQ(parse_number(text, value), "") << text;
  return value;
}

TEST(ParseNumber, TakesDecimals) {
  EXPECT_EQ(value_of<int>("0"), 0);
  EXPECT_EQ(value_of<int>("-2147483648"), INT32_MIN);
  EXPECT_EQ(value_of<uint64_t>("18446744073709551615"), UINT64_MAX);
  EXPECT_EQ(value_of<float>("0.7"), 0.7f);
  EXPECT_EQ(value_of<float>(".5"), 0.5f);
  EXPECT_EQ(value_of<float>("-0.25"), -0.25f);
  EXPECT_EQ(value_of<double>("1e-3"), 1e-3);
  EXPECT_EQ(value_of<double>("0e0"), 0.0);
  EXPECT_EQ(value_of<double>("3"), 3.0);
}

TEST(ParseNumber, RefusesWhatOnlyBeginsWithANumber) {
  for (const char* text : {"", " ", "-", "+1", " 1", "1 ", "1x", "0x10", "010", "-01", "1.5", "1e3",
                           "1,2", "one", "nan", "--1", "1\n"}) {
    EXPECT_EQ(problem_of<int>(text), "is not an integer") << text;
  }
  for (const char* text :
       {"",    " ",    "-",   "+1",   " 1",       "1 ",  "1x",    "0x1p3", "010", "00.5",
        "nan", "-nan", "inf", "-inf", "infinity", "NAN", "1.5.2", "1,5",   ".",   "e5"}) {
    EXPECT_EQ(problem_of<float>(text), "is not a number") << text;
  }
}

TEST(ParseNumber, RefusesWhatDoesNotFit) {
  EXPECT_EQ(problem_of<int>("2147483648"), "is out of range");
  EXPECT_EQ(problem_of<int64_t>("9223372036854775808"), "is out of range");
  EXPECT_EQ(problem_of<uint64_t>("18446744073709551616"), "is out of range");
  EXPECT_EQ(problem_of<float>("1e39"), "is out of range");
  EXPECT_EQ(problem_of<double>("1e400"), "is out of range");
  EXPECT_NE(problem_of<uint64_t>("-1"), "");
}

}  // namespace
}  // namespace dunlin
