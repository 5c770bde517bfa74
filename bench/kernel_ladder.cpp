// The ladders of docs/kernels: versions of two kernels from a plain loop to the one that runs, each compared
// bit for bit with the kernels' arithmetic before it is timed, next to the roof they are held against. For
// x86-64 alone.
//   kernel_ladder --check           compares all of them over small matrices, and times nothing
//   kernel_ladder --json [ROUNDS]   a line for the machine and one for each step, with all rounds (7), as
//                                   bench/kernel_ladder reads them
// Vectors are those of DUNLIN_ISA, or of the best instruction set there is; one thread. Exit code 1: other
// bits, 2: wrong use, 77: a processor without AVX2.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <span>
#include <string_view>
#include <vector>

#include "backend/cpu/isa.h"
#include "backend/cpu/kernels/kernels.h"
#include "base/thread_pool.h"
#include "kernel_ladder.h"
#include "kernel_ladder_cases.h"

namespace dunlin::ladder {
namespace {

constexpr double kLeastSeconds = 0.05;  // of what is timed at once
constexpr int kSkipped = 77;

// 226 MB of weights for one row, so that they come from memory; for many rows a matrix whose blocks are in
// the caches while they are used, as those of a large one are.
constexpr GemvSize kTimedGemv = {98304, 4096};
constexpr GemmSize kTimedGemm = {256, 512, 2048};
constexpr GemvSize kCheckedGemv = {512, 512};
constexpr GemmSize kCheckedGemm = {37, 64, 512};

double seconds_of(const std::function<void()>& work, int64_t times) {
  const auto start = std::chrono::steady_clock::now();
  for (int64_t i = 0; i < times; ++i) work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// Whether the step gives the expected bits; says where it does not.
bool check(const Ladder& ladder, const Step& step) {
  std::ranges::fill(step.y, -1.0f);
  step.run();
  for (size_t i = 0; i < step.y.size(); ++i) {
    if (std::memcmp(&step.y[i], &step.expected[i], sizeof(float)) == 0) continue;
    fmt::print(stderr, "error: {} {}: value {} is {:a}, expected {:a}\n", ladder.name, step.name, i,
               step.y[i], step.expected[i]);
    return false;
  }
  return true;
}

bool check_all(const std::vector<Ladder>& ladders) {
  bool right = true;
  for (const Ladder& ladder : ladders) {
    for (const Step& step : ladder.steps) right = check(ladder, step) && right;
  }
  return right;
}

// How often it must run to be timed.
template <typename Timed>
void choose_times(Timed& timed) {
  const double once = seconds_of(timed.run, 1);
  timed.times = std::clamp(static_cast<int64_t>(kLeastSeconds / std::max(once, 1e-9)) + 1,
                           int64_t{1}, int64_t{100'000});
}

template <typename Timed>
void time_once(Timed& timed) {
  timed.seconds.push_back(seconds_of(timed.run, timed.times) / static_cast<double>(timed.times));
}

// All in turn in every round, so that what else the machine does hits all.
void time_all(std::vector<Ladder>& ladders, int rounds) {
  for (Ladder& ladder : ladders) {
    for (Roof& roof : ladder.roofs) choose_times(roof);
    for (Step& step : ladder.steps) choose_times(step);
  }
  for (int round = 0; round < rounds; ++round) {
    for (Ladder& ladder : ladders) {
      for (Roof& roof : ladder.roofs) time_once(roof);
      for (Step& step : ladder.steps) time_once(step);
    }
  }
}

void print_step(const Ladder& ladder, const Step& step) {
  const Roof& roof = ladder.roofs[step.roof];
  fmt::print(
      "{{\"ladder\": \"{}\", \"step\": \"{}\", \"kernel\": \"{}\", \"unit\": \"{}\", \"work\": {}, "
      "\"seconds\": [{}], \"roof\": \"{}\", \"roof_work\": {}, \"roof_seconds\": [{}]}}\n",
      ladder.name, step.name, step.kernel, ladder.unit, step.work, fmt::join(step.seconds, ", "),
      roof.name, roof.work, fmt::join(roof.seconds, ", "));
}

void print_machine(Isa isa) {
  double load = 0.0;
  if (::getloadavg(&load, 1) != 1) load = -1.0;
  fmt::print("{{\"cpu\": \"{}\", \"isa\": \"{}\", \"load\": {:.2f}, \"build\": \"{}\"}}\n",
             cpu_features().model, isa_name(isa), load, DUNLIN_BUILD_TYPE);
}

int usage() {
  fmt::print(stderr, "usage: kernel_ladder --check | --json [ROUNDS]\n");
  return 2;
}

int run(std::span<char* const> words) {
  const std::string_view what = words.empty() ? std::string_view() : words.front();
  const bool timed = what == "--json";
  if ((!timed && what != "--check") || words.size() > (timed ? 2u : 1u)) return usage();
  const int rounds = words.size() == 2 ? std::atoi(words[1]) : 7;
  if (rounds < 1) return usage();
  const auto isa = cpu::select_isa("");
  if (!isa.ok()) {
    fmt::print(stderr, "error: {}\n", isa.error().message);
    return 2;
  }
  if (!includes(*isa, Isa::avx2)) {
    fmt::print(stderr, "no ladder without AVX2\n");
    return kSkipped;
  }
  const bool tiles = *isa == Isa::amx;
  const Isa vector_isa = includes(*isa, Isa::avx512) ? Isa::avx512 : Isa::avx2;
  const VectorSteps vectors = vector_isa == Isa::avx512 ? avx512_steps() : avx2_steps();
  const Kernels& table = kernels(vector_isa);
  const FlushToZero flush_to_zero;
  std::vector<Ladder> ladders;
  ladders.push_back(gemv_ladder(timed ? kTimedGemv : kCheckedGemv, table, vectors));
  ladders.push_back(gemm_ladder(timed ? kTimedGemm : kCheckedGemm, table, vectors, tiles));
  if (!check_all(ladders)) return 1;
  if (!timed) return 0;
  print_machine(*isa);
  time_all(ladders, rounds);
  for (const Ladder& ladder : ladders) {
    for (const Step& step : ladder.steps) print_step(ladder, step);
  }
  return 0;
}

}  // namespace
}  // namespace dunlin::ladder

int main(int argc, char** argv) {
  const int words = std::max(argc - 1, 0);
  return dunlin::ladder::run(
      std::span<char* const>(argv + argc - words, static_cast<size_t>(words)));
}
