// What kernels reached per cycle and thread, by instruction set.
#include <algorithm>
#include <string_view>
#include <utility>

#include "planner/calibrate.h"

namespace dunlin {

namespace {

// Multiplications and additions of a thread per cycle, and cycles of a thread for what is beside them
// (CpuRates). `bench/typical_rates build/release/bin/dunlin` measures a row on the processor it runs on
// (docs/planning.md, "This machine"). Those of avx512 and avx2 lie between the median and the best of five rounds
// on a 2-thread Xeon at 2.9 GHz that others slowed down by up to a half; those of scalar and amx are older.
// All of ARM is assumed: AVX2's for registers of half the width, of int8 by the products of an instruction.
struct IsaRow {
  const char* isa;
  double prompt;     // 512 rows in bf16 arithmetic
  double generated;  // 64 rows in int8 arithmetic
  double f32;        // 512 rows in f32 arithmetic
  double attention;  // of a prompt
  double element;    // cycles
  double score;      // cycles, of a prompt; of single rows twice as many
};
constexpr IsaRow kIsas[] = {
    {"scalar", 1, 1, 1, 1, 20, 60},
    {"avx2", 14, 24, 15, 9.5, 5, 15},
    {"avx512", 30, 60, 28, 30, 2.5, 8},
    {"amx", 200, 60, 28, 40, 2.5, 8},
    // aarch64
    {"neon", 5, 6, 5, 4, 10, 30},
    {"dotprod", 5, 16, 5, 4, 10, 30},
    {"i8mm", 5, 24, 5, 4, 10, 30},
};

// The share of the stream that one row reaches, by format (docs/formats.md has what one thread reads).
struct FormatRow {
  const char* format;
  double decode_fraction;
};
constexpr FormatRow kTypicalFormats[] = {
    {"Q4_0", 0.75}, {"BF16", 0.9}, {"Q8_0", 0.88}, {"Q4_K", 0.72}, {"Q6_K", 0.75}, {"F32", 1},
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
  for (const FormatRow& format : kTypicalFormats) {
    const bool f32 = std::string_view(format.format) == "F32";
    const bool bf16 = std::string_view(format.format) == "BF16";
    rates.formats.push_back({.format = format.format,
                             .decode_fraction = format.decode_fraction,
                             .generated_flops = cycles * (f32    ? row->f32
                                                          : bf16 ? row->prompt
                                                                 : row->generated),
                             .prompt_flops = cycles * (f32 ? row->f32 : row->prompt)});
  }
  rates.kv_fraction = 0.65;  // of that Xeon
  rates.attention_flops = cycles * row->attention;
  rates.step_seconds = 1e-6;
  rates.element_seconds = row->element / cycles;
  rates.prompt_score_seconds = row->score / cycles;
  rates.generated_score_seconds = 2 * row->score / cycles;
  rates.hertz = processor.hertz;
  return rates;
}

}  // namespace dunlin
