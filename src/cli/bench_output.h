// The results of `bench model` in the forms and under the names of llama-bench, with fields of our
// own after them.
#pragma once

#include <cstdint>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "base/result.h"
#include "cli/bench_model.h"

namespace dunlin {

struct BenchResult {
  BenchTest test = {};
  BenchSamples samples = {};
  std::string test_time = {};                      // UTC, ISO 8601, when it began
  double load_average = 0;                         // of the last minute, then
  std::optional<double> other_cpu = std::nullopt;  // cli/other_cpu.h, while it ran
  // What a device's compiler had made before and behind it.
  DevicePrograms programs_before = {}, programs_after = {};
  std::optional<OffloadStatistics> offload = std::nullopt;  // while it ran, warm-up included
  uint64_t peak_rss_bytes = 0;
  double stream_gb_s = 0;                           // read-only bandwidth of the same threads
  double flops = 0;                                 // of matrices, in one repetition
  std::optional<double> peak_flops = std::nullopt;  // per second, where it is known
};

// Of the back end pjrt `programs` says what was compiled, and loaded where it had been compiled before;
// of others it is null. `offload` is null unless the model reads weights while it runs.
nlohmann::ordered_json bench_json(const BenchResult& result, const Model& model,
                                  const std::string& model_filename);

class BenchPrinter {
 public:
  virtual ~BenchPrinter() = default;
  virtual void begin() {}
  virtual void print(const nlohmann::ordered_json& result) = 0;
  virtual void end() {}
};

// md, json (an array, as llama-bench's), jsonl, csv; `object`: the one object of --json. Anything
// else: kind usage.
Result<std::unique_ptr<BenchPrinter>> make_bench_printer(const std::string& format, FILE* file);

}  // namespace dunlin
