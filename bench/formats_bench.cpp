// The table of docs/formats.md: bits of a weight in the file and in memory, error of encoding
// N(0, 1) values, and speed of one row of `linear` in the `auto` profile, on one thread, next to a
// plain read of as many bytes taken in the same moments.
//   formats_bench [ROUNDS]          (default 7; the medians are printed)
//   formats_bench --json [ROUNDS]   a line for the machine and one for each format, with all rounds, as
//                                   bench/formats_speed reads them
// Kernels are those of DUNLIN_ISA, or of the best instruction set there is.
#include <fmt/format.h>
#include <sys/mman.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string_view>
#include <vector>

#include "backend/api.h"
#include "backend/cpu/isa.h"
#include "backend/cpu/kernels/kernels.h"
#include "base/thread_pool.h"

namespace dunlin {
namespace {

constexpr int64_t kColumns = 4096;
constexpr int64_t kEncodedRows = 128;           // repeated to fill the memory
constexpr int64_t kBytes = int64_t{256} << 20;  // of packed weights read in one round
constexpr int64_t kHugePage = int64_t{2} << 20;

struct Memory {
  explicit Memory(int64_t bytes) : size((bytes + kHugePage) / kHugePage * kHugePage) {
    const auto count = static_cast<size_t>(size);
    data = static_cast<std::byte*>(std::aligned_alloc(static_cast<size_t>(kHugePage), count));
    madvise(data, count, MADV_HUGEPAGE);
    std::memset(data, 0, count);
  }
  ~Memory() { std::free(data); }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;

  int64_t size;
  std::byte* data;
};

double seconds_of(const auto& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

double median(std::vector<double> values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
}

uint64_t read_all(const std::byte* data, int64_t bytes) {
  uint64_t sums[8] = {};
  for (int64_t i = 0; i + 512 <= bytes; i += 512) {
    __builtin_prefetch(data + i + 2048);
    for (int64_t line = 0; line < 512; line += 64) {
      for (int64_t lane = 0; lane < 8; ++lane) {
        uint64_t word;
        std::memcpy(&word, data + i + line + 8 * lane, 8);
        sums[lane] ^= word;
      }
    }
  }
  uint64_t all = 0;
  for (const uint64_t sum : sums) all ^= sum;
  return all;
}

class FormatRow {
 public:
  explicit FormatRow(const FormatTraits& format) : format_(format) {
    const int64_t elements = kEncodedRows * kColumns;
    std::mt19937 random(5);
    std::normal_distribution<float> normal;
    values_.resize(static_cast<size_t>(elements));
    for (float& value : values_) value = normal(random);
    blocks_.resize(static_cast<size_t>(row_bytes(format, elements)));
    encode_seconds_ =
        seconds_of([&] { format.encode(values_.data(), elements, nullptr, blocks_.data()); });
  }

  double error() const {
    std::vector<float> decoded(values_.size());
    format_.decode(blocks_.data(), static_cast<int64_t>(decoded.size()), decoded.data());
    double sum = 0.0;
    for (size_t i = 0; i < decoded.size(); ++i) {
      sum += std::pow(static_cast<double>(decoded[i]) - static_cast<double>(values_[i]), 2);
    }
    return std::sqrt(sum / static_cast<double>(decoded.size()));
  }

  // Multiplications and plain reads in turn, so that what else the machine does hits both.
  void print(const Kernels& table, int rounds, bool json) const {
    const PackedLayout few = *packed_layout(format_, kEncodedRows, kColumns, false);
    PackedLayout layout = few;
    layout.rows = kBytes / (few.bytes() / kEncodedRows) / kEncodedRows * kEncodedRows;
    const Memory memory(layout.bytes());
    pack(few, layout, memory.data);
    const Arithmetic arithmetic =
        linear_arithmetic(format_.format, Precision::automatic, RowClass::generated);
    std::vector<double> ours;
    std::vector<double> stream;
    for (int round = 0; round < rounds; ++round) {
      stream.push_back(seconds_of([&] { sink_ = sink_ ^ read_all(memory.data, layout.bytes()); }));
      ours.push_back(multiply(table, arithmetic, {layout, memory.data}));
    }
    const auto& kernel = table.linear[static_cast<int>(arithmetic)][static_cast<int>(layout.form)];
    if (json) {
      fmt::print(
          "{{\"format\": \"{}\", \"kernel\": \"{}\", \"bytes\": {}, \"seconds\": [{}], "
          "\"read_seconds\": [{}]}}\n",
          format_.name, kernel.name, layout.bytes(), fmt::join(ours, ", "),
          fmt::join(stream, ", "));
      std::fflush(stdout);
      return;
    }
    const auto weights = static_cast<double>(layout.rows * kColumns);
    const double seconds = median(ours);
    const auto bits = [](int64_t bytes, double count) {
      return 8.0 * static_cast<double>(bytes) / count;
    };
    fmt::print("| {} | {:.4g} | {:.4g} | {:.3g} | {:.1f} | {} | {:.2f} | {:.1f} | {:.2f} |\n",
               format_.name, bits(format_.block_bytes, static_cast<double>(format_.block_elements)),
               bits(layout.bytes(), weights), error(),
               static_cast<double>(values_.size()) / encode_seconds_ / 1e6, kernel.name,
               weights / seconds / 1e9, static_cast<double>(layout.bytes()) / seconds / 1e9,
               median(stream) / seconds);
    std::fflush(stdout);
  }

 private:
  void pack(const PackedLayout& few, const PackedLayout& all, std::byte* to) const {
    const int64_t stored = row_bytes(format_, kColumns) * kStripeRows;
    const Memory scratch(pack_scratch_bytes(few));
    for (int64_t stripe = 0; stripe < few.stripes(); ++stripe) {
      pack_stripe(few, {&format_, kColumns}, blocks_.data() + stripe * stored, kStripeRows,
                  scratch.data, to + stripe * few.stripe_bytes());
    }
    for (int64_t stripe = few.stripes(); stripe < all.stripes(); ++stripe) {
      std::memcpy(to + stripe * few.stripe_bytes(),
                  to + stripe % few.stripes() * few.stripe_bytes(),
                  static_cast<size_t>(few.stripe_bytes()));
    }
  }

  double multiply(const Kernels& table, Arithmetic arithmetic, PackedMatrix weight) const {
    const FlushToZero flush_to_zero;
    const Memory activations(activation_bytes(arithmetic, 1, kColumns));
    const Memory workspace(kLinearWorkspaceBytes);
    std::vector<float> y(static_cast<size_t>(weight.layout.rows));
    table.prepare[static_cast<int>(arithmetic)].run(
        {values_.data(), kColumns, 1, kColumns, 0, 1, activations.data});
    LinearArgs args{};
    args.weight = weight;
    args.stripe_end = weight.layout.stripes();
    args.activations = activations.data;
    args.rows = 1;
    args.row_end = 1;
    args.y = y.data();
    args.y_stride = weight.layout.rows;
    args.workspace = workspace.data;
    const auto& kernel =
        table.linear[static_cast<int>(arithmetic)][static_cast<int>(weight.layout.form)];
    return seconds_of([&] { kernel.run(args); });
  }

  const FormatTraits& format_;
  std::vector<float> values_;
  std::vector<std::byte> blocks_;
  double encode_seconds_ = 0.0;
  static inline volatile uint64_t sink_ = 0;
};

}  // namespace
}  // namespace dunlin

int main(int argc, char** argv) {
  using namespace dunlin;
  const bool json = argc > 1 && std::string_view(argv[1]) == "--json";
  const int at = json ? 2 : 1;
  const int rounds = std::max(1, argc > at ? std::atoi(argv[at]) : 7);
  const auto isa = cpu::select_isa("");
  if (!isa.ok()) {
    fmt::print(stderr, "error: {}\n", isa.error().message);
    return 2;
  }
  double load = 0.0;
  if (::getloadavg(&load, 1) != 1) load = -1.0;
  if (json) {
    fmt::print("{{\"cpu\": \"{}\", \"isa\": \"{}\", \"load\": {:.2f}, \"build\": \"{}\"}}\n",
               cpu_features().model, isa_name(*isa), load, DUNLIN_BUILD_TYPE);
  } else {
    fmt::print("{}; load average {:.2f}\n\n", cpu_features().model, load);
    fmt::print(
        "| format | bits, file | bits, memory | RMS error | encode, M/s | kernel | "
        "weights, G/s | GB/s | of a plain read |\n|---|---|---|---|---|---|---|---|---|\n");
  }
  for (const FormatTraits& format : all_formats())
    FormatRow(format).print(kernels(*isa), rounds, json);
  return 0;
}
