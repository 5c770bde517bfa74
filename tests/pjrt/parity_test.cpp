// Every golden model on a PJRT device: differences within 1e-4 of the largest logit in float32, the
// same greedy ids. The goldens come from transformers (tools/make_golden.py).
#include "parity/parity.h"

#include <gtest/gtest.h>

#include "../parity/golden_models.h"
#include "pjrt_device.h"

namespace dunlin {
namespace {

class PjrtParity : public testing::TestWithParam<std::string> {};

TEST_P(PjrtParity, EveryTensorAgrees) {
  DUNLIN_NEEDS_PLUGIN();
  const auto report = compare_with_reference(
      model_path(GetParam(), Container::directory), golden_path(GetParam()),
      {.backend = "pjrt", .device = pjrt::test_device(), .tolerance = pjrt::tolerance().parity});
  ASSERT_TRUE(report.ok()) << report.error().message;
  for (const ParityRow& row : report->rows) {
    EXPECT_TRUE(row.pass) << row.name << ": " << row.max_abs_diff << " of " << row.allowed << " at "
                          << row.where;
  }
  EXPECT_EQ(report->ignored, std::vector<std::string>());
  EXPECT_GE(report->rows.size(), 4u);
}

const auto model_name = [](const auto& info) { return info.param; };
INSTANTIATE_TEST_SUITE_P(Tiny, PjrtParity, testing::ValuesIn(committed_models()), model_name);
INSTANTIATE_TEST_SUITE_P(Kernel, PjrtParity, testing::ValuesIn(kernel_models()), model_name);

}  // namespace
}  // namespace dunlin
