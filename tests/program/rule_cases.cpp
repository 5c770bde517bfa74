#include "rule_cases.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace dunlin {

Tensor Maker::weight(std::initializer_list<int64_t> sizes) {
  WeightDeclaration declaration{fmt::format("w{}.weight", count_++), {}, {}};
  for (const int64_t size : sizes) declaration.dims.push_back({{Axis::embed, size}});
  return recorder_.declare_weight(std::move(declaration));
}

void expect_errors(const std::vector<RuleCase>& cases) {
  for (const RuleCase& test : cases) {
    const Result<Program> result = record("test", {.taps = {"*"}}, [&test](Recorder& recorder) {
      Maker make(recorder);
      test.forward(make);
    });
    ASSERT_FALSE(result.ok()) << test.error;
    EXPECT_EQ(result.error().kind, ErrorKind::model);
    EXPECT_NE(result.error().message.find(test.error), std::string::npos)
        << result.error().message << "\nexpected: " << test.error;
  }
}

}  // namespace dunlin
