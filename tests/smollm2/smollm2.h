// The published model these tests run on: SmolLM2-135M-Instruct, Q4_1, as one GGUF file.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "engine/model.h"

namespace dunlin {

// The path that DUNLIN_TEST_MODEL holds; empty when it is not set.
std::string smollm2_path();

// Skips every test of a suite when there is no model.
class SmolLm2 : public testing::Test {
 protected:
  void SetUp() override {
    if (smollm2_path().empty())
      GTEST_SKIP() << "DUNLIN_TEST_MODEL does not name SmolLM2-135M-Instruct.Q4_1.gguf";
  }
};

// The tokenizer and the chat template of the file, read once.
const TextModel& smollm2_text();

nlohmann::ordered_json read_json(const std::string& path_below_tests);

}  // namespace dunlin
