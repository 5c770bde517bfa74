// What a processor was measured to do with the engine's own kernels, and the time of operations from
// it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "step/step.h"

namespace dunlin {

// Of matrices in one number format.
struct FormatRates {
  std::string format;          // "Q4_0"
  double decode_fraction = 0;  // of the stream, while one generated row reads the weights
  double generated_flops = 0;  // of many generated rows in a step, per second
  double prompt_flops = 0;     // of 512 rows of a prompt
};

struct StreamPoint {
  double bytes = 0;             // read over and over
  double bytes_per_second = 0;  // by all threads
};

struct CpuRates {
  std::string cpu;  // brand string
  int threads = 0;
  std::string isa;
  bool calibrated =
      false;  // false: the stream is measured, the others are of this kind of processor
  std::vector<StreamPoint> stream;  // ascending by bytes
  std::vector<FormatRates> formats;
  double kv_fraction = 0;      // of the stream, while one row reads the cache
  double attention_flops = 0;  // of a prompt, per second
  double step_seconds = 0;     // of an operation beside its work: waking and joining the threads
  // Of the disk that packed weights lie on, as --offload reads them; 0: it was not measured.
  double disk_bytes_per_second = 0;

  // Between the points by the logarithm of the bytes, beyond them the nearest.
  double stream_bytes_per_second(double bytes) const;
  // The row of a format, else of the nearest: one with as many bits, else the first.
  const FormatRates& of(std::string_view format) const;
  // Of all arithmetic: the fastest of the formats.
  double peak_flops() const;
};

// JSON, schema_version 1. Reading: any wrong or missing field is an error (kind usage) that names it.
std::string to_json(const CpuRates& rates);
Result<CpuRates> parse_cpu_rates(const std::string& text, const std::string& origin);

}  // namespace dunlin
