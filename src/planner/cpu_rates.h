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
  std::string format;  // "Q4_0"
  double decode_fraction =
      0;  // of the stream, while one generated row reads the weights; at most 1
  // Multiplications and additions per second, beside what the elements of the rows take.
  double generated_flops = 0;  // of many generated rows in a step
  double prompt_flops = 0;     // of 512 rows of a prompt
};

struct StreamPoint {
  double bytes = 0;             // read over and over
  double bytes_per_second = 0;  // by all threads, at best
};

// How an operation's time is made of these: planner/roofline.h.
struct CpuRates {
  std::string cpu;  // brand string
  int threads = 0;
  std::string isa;
  bool calibrated =
      false;  // false: the stream is measured, the others are of this kind of processor
  std::vector<StreamPoint> stream;  // ascending by bytes
  std::vector<FormatRates> formats;
  double kv_fraction = 0;      // of the stream, while one row reads the cache; at most 1
  double attention_flops = 0;  // of a prompt, per second
  double step_seconds = 0;     // of an operation beside its work: waking and joining the threads
  // Of an element of a row that goes into a matrix or comes out of it: norms, rotation, activation
  // functions and the form in which a matrix takes its rows.
  double element_seconds = 0;
  // Of a product of a query and a key beside its multiplications and reads: the softmax.
  double prompt_score_seconds = 0;
  double generated_score_seconds = 0;
  double hertz = 0;  // clock rate under load, for the record; 0: it was not measured
  // Of the disk that packed weights lie on, as --offload reads them; 0: it was not measured.
  double disk_bytes_per_second = 0;

  // Between the points by the logarithm of the bytes, beyond them the nearest.
  double stream_bytes_per_second(double bytes) const;
  // The row of a format, else of the nearest: one with as many bits, else the first.
  const FormatRates& of(std::string_view format) const;
  // Of all arithmetic: the fastest of the formats.
  double peak_flops() const;
};

// JSON, schema_version 2. Reading: any wrong or missing field is an error (kind usage) that names it, and so
// is another version, whose figures meant something else.
std::string to_json(const CpuRates& rates);
Result<CpuRates> parse_cpu_rates(const std::string& text, const std::string& origin);

}  // namespace dunlin
