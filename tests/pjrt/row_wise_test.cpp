// Which Programs may be padded and run in parts.
#include "backend/pjrt/row_wise.h"

#include <gtest/gtest.h>

#include "case_runner.h"
#include "operation_cases.h"

namespace dunlin::pjrt {
namespace {

bool row_wise(const std::string& name, bool expanded = false) {
  const auto prepared = prepare_case(operation_case(name), {.expanded = expanded});
  EXPECT_TRUE(prepared.ok());
  return is_row_wise(prepared->program);
}

TEST(RowWise, ModelsAre) {
  for (const char* name : {"block_gpt_oss_F32", "block_dream_F32", "block_dream_cached_BF16",
                           "attend_layer_Q8_0", "logits_view", "sample", "pool_mean"}) {
    EXPECT_TRUE(row_wise(name)) << name;
  }
}

TEST(RowWise, WhatMixesRowsIsNot) {
  for (const char* name : {"basic_reduce_cumsum", "basic_constant_iota_convert", "basic_dot",
                           "basic_gather_scatter_top_k", "basic_state_write_read"}) {
    EXPECT_FALSE(row_wise(name)) << name;
  }
  EXPECT_FALSE(row_wise("attention_sinks", /*expanded=*/true));
}

}  // namespace
}  // namespace dunlin::pjrt
