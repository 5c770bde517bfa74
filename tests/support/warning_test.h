// A fixture that keeps the warnings of a test.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/log.h"

namespace dunlin {

class WarningTest : public testing::Test {
 protected:
  WarningTest() {
    set_warning_sink([this](const std::string& message) { warnings_.push_back(message); });
  }
  ~WarningTest() override {
    set_warning_sink([](const std::string&) {});
  }

  std::vector<std::string> warnings_;
};

}  // namespace dunlin
