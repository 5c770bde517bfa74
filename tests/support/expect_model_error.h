// What every malformed model file must lead to.
#pragma once

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <chrono>
#include <cstdint>
#include <string>

#include "base/result.h"

namespace dunlin {

inline int64_t peak_kilobytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss;
}

// Runs `attempt`, which must fail as a model error that names `origin` and `problem`, within 64 MB
// and within seconds: what is quadratic in the largest file takes minutes.
template <typename Attempt>
void expect_model_error(Attempt attempt, const std::string& origin, const std::string& problem) {
  const int64_t memory = peak_kilobytes();
  const auto start = std::chrono::steady_clock::now();
  const auto result = attempt();
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  ASSERT_FALSE(result.ok()) << "expected: " << problem;
  EXPECT_EQ(result.error().kind, ErrorKind::model);
  EXPECT_NE(result.error().message.find(origin), std::string::npos) << result.error().message;
  EXPECT_NE(result.error().message.find(problem), std::string::npos) << result.error().message;
  EXPECT_LT(seconds.count(), 30.0);
  EXPECT_LT(peak_kilobytes() - memory, 64 << 10);
}

}  // namespace dunlin
