// Result: values and errors travel unchanged, and asking for the wrong one is caught.
#include "base/result.h"

#include <gtest/gtest.h>

#include <memory>

namespace dunlin {
namespace {

Result<int> half(int value) {
  if (value % 2 != 0) return model_error("odd");
  return value / 2;
}

Result<int> quarter(int value) {
  DUNLIN_ASSIGN_OR_RETURN(const int first, half(value));
  DUNLIN_ASSIGN_OR_RETURN(const int second, half(first));
  return second;
}

Result<void> require_even(int value) {
  DUNLIN_RETURN_IF_ERROR(half(value));
  return {};
}

TEST(Result, HoldsAValueOrAnError) {
  EXPECT_EQ(*half(4), 2);
  const auto failed = half(3);
  EXPECT_FALSE(failed.ok());
  EXPECT_FALSE(static_cast<bool>(failed));
  EXPECT_EQ(failed.error().kind, ErrorKind::model);
  EXPECT_EQ(failed.error().message, "odd");
}

TEST(Result, MacrosReturnTheFirstError) {
  EXPECT_EQ(*quarter(8), 2);
  EXPECT_EQ(quarter(6).error().message, "odd");
  EXPECT_TRUE(require_even(2).ok());
  EXPECT_EQ(require_even(1).error().message, "odd");
}

TEST(Result, MovesWhatCannotBeCopied) {
  Result<std::unique_ptr<int>> result(std::make_unique<int>(7));
  const std::unique_ptr<int> taken = std::move(result).value();
  EXPECT_EQ(*taken, 7);
}

TEST(Result, ContextGoesBeforeTheMessage) {
  const Error error = usage_error("too long").with_context("prompt");
  EXPECT_EQ(error.message, "prompt: too long");
  EXPECT_EQ(error.kind, ErrorKind::usage);
}

TEST(ResultDeathTest, TheWrongHalfIsAProgrammingMistake) {
  EXPECT_DEATH(static_cast<void>(half(3).value()), "odd");
  EXPECT_DEATH(static_cast<void>(half(4).error()), "holds a value");
  EXPECT_DEATH(require_even(1).value(), "odd");
}

}  // namespace
}  // namespace dunlin
