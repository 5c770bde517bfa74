// `bench model --profile FILE`: each test once more, untimed, while the executable notes its steps. They
// go into a trace file, and the costliest kinds of them into a table.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "backend/profile.h"
#include "base/result.h"
#include "cli/bench_model.h"
#include "cli/bench_profile.h"
#include "cli/trace_file.h"
#include "engine/model.h"

namespace dunlin {

class BenchProfiler {
 public:
  // Nothing is at `path` before finish(). Errors: a place that cannot be written.
  static Result<std::unique_ptr<BenchProfiler>> create(const std::string& path);

  // The error (kind usage, it names the flag) of a model whose back end does not tell its steps
  // apart: before anything is measured.
  Result<void> check(const Model& model);

  // Runs the tests, which `bench` has measured, once more.
  Result<void> add(const std::string& path, const Model& model, TestBench& bench,
                   const std::vector<BenchTest>& tests, const Roofs& roofs);

  Result<void> finish();
  // Tables of the ten costliest kinds of steps of each test, and what there is to say of them.
  const std::string& text() const { return text_; }

 private:
  BenchProfiler(std::string path, TraceFile trace);

  std::string path_;
  TraceFile trace_;
  Profile profile_;
  std::string text_ = {};
  bool without_peak_ = false;
};

}  // namespace dunlin
