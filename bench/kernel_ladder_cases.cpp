#include "kernel_ladder_cases.h"

#include <algorithm>
#include <cstring>
#include <random>
#include <utility>

#include "backend/cpu/kernels/activations.h"
#include "formats/format.h"
#include "kernel_data.h"

namespace dunlin::ladder {
namespace {

// Rows of Q4_0 as a file has them, and packed. They repeat after kDistinct rows.
struct LadderWeights {
  static constexpr int64_t kDistinct = 256;

  LadderWeights(int64_t channels, int64_t columns)
      : layout(*packed_layout(traits(Format::q4_0), channels, columns, false)),
        row(row_bytes(traits(Format::q4_0), columns)),
        stored(channels * row),
        packed(layout.bytes()) {
    const int64_t distinct = std::min(channels, kDistinct);
    std::mt19937 random(3);
    fill(stored.data, distinct * row, random);
    for (int64_t block = 0; block < distinct * row / kStoredBlockBytes; ++block) {
      // Scales from 1/16 to 1/8.
      const auto scale = static_cast<uint16_t>(0x2c00u + (random() & 0x3ffu));
      std::memcpy(stored.data + block * kStoredBlockBytes, &scale, sizeof scale);
    }
    const Memory scratch(pack_scratch_bytes(layout));
    for (int64_t stripe = 0; stripe < distinct / kStripeRows; ++stripe) {
      pack_stripe(layout, {&traits(Format::q4_0), columns},
                  stored.data + stripe * kStripeRows * row, kStripeRows, scratch.data,
                  packed.data + stripe * layout.stripe_bytes());
    }
    repeat(stored.data, distinct * row, channels * row);
    repeat(packed.data, distinct / kStripeRows * layout.stripe_bytes(), layout.bytes());
  }

  static void repeat(std::byte* data, int64_t period, int64_t bytes) {
    for (int64_t at = period; at < bytes; at += period)
      std::memcpy(data + at, data, static_cast<size_t>(std::min(period, bytes - at)));
  }

  PackedLayout layout;
  int64_t row;  // bytes, as stored
  Memory stored;
  Memory packed;
};

std::shared_ptr<Memory> normal_values(int64_t count) {
  auto memory = std::make_shared<Memory>(count * 4);
  std::mt19937 random(5);
  std::normal_distribution<float> normal;
  for (int64_t i = 0; i < count; ++i) memory->floats()[i] = normal(random);
  return memory;
}

std::shared_ptr<Memory> prepared(const Kernels& table, Arithmetic arithmetic, const Memory& x,
                                 int64_t rows, int64_t columns) {
  auto out = std::make_shared<Memory>(activation_bytes(arithmetic, rows, columns));
  table.prepare[static_cast<size_t>(arithmetic)].run(
      {x.floats(), columns, rows, columns, 0, rows, out->data});
  return out;
}

std::span<float> floats_of(const Memory& memory, int64_t count) {
  return {memory.floats(), static_cast<size_t>(count)};
}

// A kernel of the table over all channels.
std::function<void()> table_call(const Kernels& table, Arithmetic arithmetic,
                                 const PackedMatrix& weight, const Memory& activations,
                                 int64_t rows, float* y, std::byte* workspace) {
  LinearArgs args{};
  args.weight = weight;
  args.stripe_end = weight.layout.stripes();
  args.activations = activations.data;
  args.rows = rows;
  args.row_end = rows;
  args.y = y;
  args.y_stride = weight.layout.rows;
  args.workspace = workspace;
  auto* const run =
      table.linear[static_cast<size_t>(arithmetic)][static_cast<size_t>(weight.layout.form)].run;
  return [run, args] { run(args); };
}

const char* kernel_name(const Kernels& table, Arithmetic arithmetic) {
  return table.linear[static_cast<size_t>(arithmetic)][static_cast<size_t>(PackedForm::q4)].name;
}

// What the scalar kernels give, which the tests hold against the plain loops of the numerics page.
std::shared_ptr<Memory> expected_of(const LadderWeights& weights, Arithmetic arithmetic,
                                    const Memory& x, int64_t rows) {
  const Kernels& scalar = kernels(Isa::scalar);
  PackedMatrix few{weights.layout, weights.packed.data};
  few.layout.rows = std::min(weights.layout.rows, LadderWeights::kDistinct);
  const auto activations = prepared(scalar, arithmetic, x, rows, few.layout.columns);
  const Memory workspace(kLinearWorkspaceBytes);
  const Memory part(rows * few.layout.rows * 4);
  table_call(scalar, arithmetic, few, *activations, rows, part.floats(), workspace.data)();
  auto all = std::make_shared<Memory>(rows * weights.layout.rows * 4);
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t channel = 0; channel < weights.layout.rows; ++channel) {
      all->floats()[row * weights.layout.rows + channel] =
          part.floats()[row * few.layout.rows + channel % few.layout.rows];
    }
  }
  return all;
}

uint64_t read_all(const std::byte* data, int64_t bytes) {
  uint64_t sums[8] = {};
  for (int64_t i = 0; i + 512 <= bytes; i += 512) {
    for (int64_t line = 0; line < 512; line += 64) {
      __builtin_prefetch(data + i + line + 2048);
      for (int64_t lane = 0; lane < 8; ++lane) {
        uint64_t word = 0;
        std::memcpy(&word, data + i + line + 8 * lane, 8);
        sums[lane] ^= word;
      }
    }
  }
  uint64_t all = 0;
  for (const uint64_t sum : sums) all ^= sum;
  return all;
}

Roof roof_of(std::string name, double work, std::function<void()> run) {
  Roof roof;
  roof.name = std::move(name);
  roof.work = work;
  roof.run = std::move(run);
  return roof;
}

Step step_of(std::string name, double work, std::function<void()> run) {
  Step step;
  step.name = std::move(name);
  step.work = work;
  step.run = std::move(run);
  return step;
}

void add_peaks(Ladder& ladder, const VectorSteps& vectors, bool tiles) {
  constexpr int64_t kPeakSteps = 20'000;
  const auto sums = std::make_shared<Memory>(vectors.peak_chains * 64);
  ladder.memory.push_back(sums);
  ladder.roofs.push_back(roof_of("multiply-adds",
                                 static_cast<double>(kPeakSteps * vectors.peak_chains * 32),
                                 [sums, run = vectors.multiply_add_peak] {
                                   run(kPeakSteps, 0.999f, 0.001f, sums->floats());
                                 }));
  if (!tiles) return;
  const auto operands = std::make_shared<Memory>(4096);
  ladder.memory.push_back(operands);
  ladder.roofs.push_back(roof_of("tiles", static_cast<double>(kPeakSteps * kTileStepFlops),
                                 [operands] { tile_peak_bf16(operands->data, kPeakSteps); }));
}

// What the functions of a ladder share.
struct LadderMemory {
  LadderMemory(int64_t channels, int64_t columns, int64_t rows, Arithmetic arithmetic)
      : weights(std::make_shared<LadderWeights>(channels, columns)),
        packed{weights->layout, weights->packed.data},
        x(normal_values(rows * columns)),
        y(std::make_shared<Memory>(rows * channels * 4)),
        expected(expected_of(*weights, arithmetic, *x, rows)),
        workspace(std::make_shared<Memory>(kLinearWorkspaceBytes)) {}

  void live_in(Ladder& ladder) const {
    ladder.memory.insert(ladder.memory.end(), {weights, x, y, expected, workspace});
  }

  std::shared_ptr<LadderWeights> weights;
  PackedMatrix packed;
  std::shared_ptr<Memory> x;  // [rows, columns]
  std::shared_ptr<Memory> y;  // [rows, channels]
  std::shared_ptr<Memory> expected;
  std::shared_ptr<Memory> workspace;
};

}  // namespace

Ladder gemv_ladder(const GemvSize& size, const Kernels& table, const VectorSteps& vectors) {
  constexpr int64_t kFewRows = 4;
  const LadderMemory memory(size.channels, size.columns, kFewRows, Arithmetic::int8);
  const auto one = prepared(table, Arithmetic::int8, *memory.x, 1, size.columns);
  const auto few = prepared(table, Arithmetic::int8, *memory.x, kFewRows, size.columns);
  const auto sum = std::make_shared<uint64_t>(0);
  Ladder ladder{.name = "gemv", .unit = "B"};
  memory.live_in(ladder);
  ladder.memory.insert(ladder.memory.end(), {one, few, sum});
  const auto bytes = static_cast<double>(memory.weights->layout.bytes());
  ladder.roofs.push_back(roof_of("plain read", bytes, [weights = memory.weights, sum] {
    *sum ^= read_all(weights->packed.data, weights->layout.bytes());
  }));
  const auto add = [&](const char* name, int64_t rows, std::function<void()> run) {
    Step step = step_of(name, bytes * static_cast<double>(rows), std::move(run));
    step.y = floats_of(*memory.y, rows * size.channels);
    step.expected = floats_of(*memory.expected, rows * size.channels);
    ladder.steps.push_back(std::move(step));
  };
  const GemvArgs args{
      memory.weights->stored.data, memory.packed, one->data, size.channels, size.columns,
      memory.y->floats()};
  const auto add_own = [&](const char* name, GemvFunction* run) {
    add(name, 1, [run, args] { run(args); });
  };
  add_own("scalar", scalar_steps().gemv_scalar);
  add_own("blocked", stored_steps().gemv_blocked);
  add_own("vectorised", stored_steps().gemv_vectorised);
  add_own("packed", vectors.gemv_packed);
  add_own("prefetch", vectors.gemv_burst);
  const auto add_kernel = [&](const char* name, const Memory& activations, int64_t rows) {
    add(name, rows,
        table_call(table, Arithmetic::int8, memory.packed, activations, rows, memory.y->floats(),
                   memory.workspace->data));
    ladder.steps.back().kernel = kernel_name(table, Arithmetic::int8);
  };
  add_kernel("kernel", *one, 1);
  add_kernel("rows", *few, kFewRows);
  return ladder;
}

Ladder gemm_ladder(const GemmSize& size, const Kernels& table, const VectorSteps& vectors,
                   bool tiles) {
  const LadderMemory memory(size.channels, size.columns, size.rows, Arithmetic::bf16);
  const auto x = prepared(table, Arithmetic::bf16, *memory.x, size.rows, size.columns);
  const auto workspace = std::make_shared<Memory>(gemm_workspace_bytes(size.rows, size.columns));
  Ladder ladder{.name = "gemm", .unit = "FLOP"};
  memory.live_in(ladder);
  ladder.memory.insert(ladder.memory.end(), {x, workspace});
  add_peaks(ladder, vectors, tiles);
  const auto flops = static_cast<double>(2 * size.rows * size.columns);  // of a channel
  // The slow ones compute some of the channels, side by side in y and in what is expected.
  const auto add_own = [&](const char* name, GemmFunction* run, int64_t share) {
    const int64_t some = std::max<int64_t>(2 * kStripeRows, size.channels / share);
    const auto part = std::make_shared<Memory>(size.rows * some * 4);
    for (int64_t row = 0; row < size.rows; ++row) {
      std::memcpy(part->floats() + row * some, memory.expected->floats() + row * size.channels,
                  static_cast<size_t>(some * 4));
    }
    ladder.memory.push_back(part);
    GemmArgs args{};
    args.stored = memory.weights->stored.data;
    args.packed = memory.packed;
    args.x = x->floats();
    args.rows = size.rows;
    args.channels = some;
    args.columns = size.columns;
    args.y = memory.y->floats();
    args.y_stride = some;
    args.workspace = workspace->data;
    Step step = step_of(name, flops * static_cast<double>(some), [run, args] { run(args); });
    step.y = floats_of(*memory.y, size.rows * some);
    step.expected = floats_of(*part, size.rows * some);
    ladder.steps.push_back(std::move(step));
  };
  add_own("scalar", scalar_steps().gemm_scalar, 16);
  add_own("blocked", scalar_steps().gemm_blocked, 8);
  add_own("vectorised", vectors.gemm_vectorised, 2);
  add_own("panel", vectors.gemm_panel, 1);
  add_own("rows", vectors.gemm_rows, 1);
  const auto add_kernel = [&](const char* name, const Kernels& of, const Memory& rows) {
    Step step = step_of(name, flops * static_cast<double>(size.channels),
                        table_call(of, Arithmetic::bf16, memory.packed, rows, size.rows,
                                   memory.y->floats(), memory.workspace->data));
    step.kernel = kernel_name(of, Arithmetic::bf16);
    step.y = floats_of(*memory.y, size.rows * size.channels);
    step.expected = floats_of(*memory.expected, size.rows * size.channels);
    ladder.steps.push_back(std::move(step));
  };
  add_kernel("kernel", table, *x);
  if (tiles) {
    const auto tiled =
        prepared(kernels(Isa::amx), Arithmetic::bf16, *memory.x, size.rows, size.columns);
    ladder.memory.push_back(tiled);
    add_kernel("tile", kernels(Isa::amx), *tiled);
    ladder.steps.back().roof = 1;
  }
  return ladder;
}

}  // namespace dunlin::ladder
