// `bench model` from its flags to its results.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "cli/diffusion_flags.h"
#include "cli/options.h"

namespace dunlin {

struct BenchFlags {
  std::vector<std::string> models;
  std::vector<std::string> prompts, generates, prompt_generates, depths, threads;
  int64_t repetitions = 5;
  BatchFlags step;
  BackendFlags backend;
  std::string output = "md";
  std::string output_err = "none";
  int64_t layers = -1;
  std::vector<std::string> disable;
  DiffusionFlags diffusion;
  std::string compare, fail_if, profile;
  bool no_warmup = false, progress = false, json = false;
  IgnoredFlags ignored;
};

// Measures, prints, compares and profiles as the flags say. Returns the exit code: that of a signal, 6
// where a speed fell by more than --fail-if. Errors: kind usage, before anything is measured where that
// can be known; of the model and the back end; of files that cannot be written.
Result<int> bench_model(const BenchFlags& flags);

}  // namespace dunlin
