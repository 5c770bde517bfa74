// What kernels reached per cycle and thread, by instruction set.
#include <algorithm>

#include "planner/calibrate.h"

namespace dunlin {

namespace {

// Multiplications and additions of a thread per cycle. Measured by `dunlin plan --calibrate` under
// DUNLIN_ISA on a 2-thread Xeon (docs/planning.md, "This machine"); those of ARM are assumed: AVX2's
// for registers of half the width, of int8 by the products of an instruction.
struct IsaRow {
  const char* isa;
  double prompt;     // 512 rows in bf16 arithmetic
  double generated;  // 64 rows in int8 arithmetic
  double f32;        // 512 rows in f32 arithmetic
  double attention;  // of a prompt
};
constexpr IsaRow kIsas[] = {
    {"scalar", 1, 1, 1, 1},
    {"avx2", 10, 20, 10, 8},
    {"avx512", 20, 60, 20, 16},
    {"amx", 200, 60, 20, 40},
    // aarch64
    {"neon", 5, 6, 5, 4},
    {"dotprod", 5, 16, 5, 4},
    {"i8mm", 5, 24, 5, 4},
};

// The share of the stream that one row reaches, by format.
struct FormatRow {
  const char* format;
  double decode_fraction;
};
constexpr FormatRow kFormats[] = {
    {"BF16", 0.85}, {"Q8_0", 0.85}, {"Q4_0", 0.8}, {"Q4_K", 0.8}, {"Q6_K", 0.8}, {"F32", 0.85},
};

}  // namespace

CpuRates typical_rates(const Processor& processor, std::vector<StreamPoint> stream) {
  const IsaRow* row = std::ranges::find(kIsas, processor.isa, &IsaRow::isa);
  if (row == std::end(kIsas)) row = &kIsas[0];
  const double cycles = processor.hertz * processor.threads;
  CpuRates rates;
  rates.cpu = processor.cpu;
  rates.isa = processor.isa;
  rates.threads = processor.threads;
  rates.stream = std::move(stream);
  for (const FormatRow& format : kFormats) {
    const bool f32 = std::string_view(format.format) == "F32";
    const bool bf16 = std::string_view(format.format) == "BF16";
    rates.formats.push_back({.format = format.format,
                             .decode_fraction = format.decode_fraction,
                             .generated_flops = cycles * (f32    ? row->f32
                                                          : bf16 ? row->prompt
                                                                 : row->generated),
                             .prompt_flops = cycles * (f32 ? row->f32 : row->prompt)});
  }
  rates.kv_fraction = 0.7;
  rates.attention_flops = cycles * row->attention;
  rates.step_seconds = 4e-6;
  return rates;
}

}  // namespace dunlin
