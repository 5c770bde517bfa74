// The steps of both ladders with their memory, what they must compute, and the roofs they are held against.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "backend/cpu/kernels/kernels.h"
#include "kernel_ladder.h"

namespace dunlin::ladder {

// What a step cannot be faster than.
struct Roof {
  std::string name = {};  // "plain read"
  double work = 0;        // of one run: bytes or operations
  std::function<void()> run = {};
  int64_t times = 1;                 // that it runs to be timed once
  std::vector<double> seconds = {};  // of one run, by round
};

struct Step {
  std::string name = {};    // as docs/kernels has it
  std::string kernel = {};  // of the table; empty: a version that is only here
  double work = 0;
  std::function<void()> run = {};
  size_t roof = 0;
  std::span<float> y = {};  // what it computes
  std::span<const float> expected = {};
  int64_t times = 1;
  std::vector<double> seconds = {};
};

struct Ladder {
  std::string name = {};  // "gemv"
  std::string unit = {};  // of work: "B" or "FLOP"
  std::vector<Roof> roofs = {};
  std::vector<Step> steps = {};
  std::vector<std::shared_ptr<void>> memory = {};  // that its functions use
};

// Channels are multiples of 32, columns of 256; more than 256 channels are a multiple of 256.
struct GemvSize {
  int64_t channels;
  int64_t columns;
};
struct GemmSize {
  int64_t rows;
  int64_t channels;
  int64_t columns;
};

// `table` and `vectors` of one instruction set, which the processor has.
Ladder gemv_ladder(const GemvSize& size, const Kernels& table, const VectorSteps& vectors);
// `tiles`: with the kernel of AMX, too.
Ladder gemm_ladder(const GemmSize& size, const Kernels& table, const VectorSteps& vectors,
                   bool tiles);

}  // namespace dunlin::ladder
