// Measuring, choosing, and the file that keeps the choice.
#include "backend/cpu/memory_tuning.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <span>
#include <utility>

#include "backend/cpu/arena.h"
#include "backend/cpu/select.h"
#include "backend/cpu/work_sizes.h"
#include "base/byte_source.h"
#include "base/cpu_features.h"
#include "base/json_document.h"
#include "base/json_members.h"

namespace dunlin::cpu {

namespace {

using Clock = std::chrono::steady_clock;
using Json = nlohmann::ordered_json;

// On Zen 1 the first read 6 % less per second than the second, and the others 2 % more, in one measurement.
constexpr int64_t kDistances[] = {1024, 2048, 4096, 8192};

// Read in 13 ms at 20 GB/s. Two such arenas take turns, so that caches of less than both hold little of either.
constexpr int64_t kStreamBytes = 128 << 20;
constexpr double kSeconds = 0.4;

constexpr int kTuningVersion = 1;
constexpr uint64_t kMostTuningBytes = 64 << 10;

double median(std::vector<double> samples) {
  std::ranges::sort(samples);
  return samples[samples.size() / 2];
}

// One row times a matrix of zeros, in pages of one kind.
class Stream {
 public:
  static Result<Stream> create(const StreamingKernel& kernel, ThreadPool& pool, int64_t bytes,
                               Pages pages) {
    Stream stream(kernel, pool);
    PackedLayout& layout = stream.kernel_.layout;
    layout.rows = std::max<int64_t>(1, bytes / layout.stripe_bytes()) * kStripeRows;
    DUNLIN_ASSIGN_OR_RETURN(stream.weights_, Arena::create(layout.bytes(), "measuring", pages));
    const int64_t activations =
        round_up(activation_bytes(kernel.arithmetic, 1, layout.columns), kCacheLine);
    const int64_t results = round_up(layout.rows * static_cast<int64_t>(sizeof(float)), kCacheLine);
    const int64_t workspaces = kLinearWorkspaceBytes * pool.threads();
    DUNLIN_ASSIGN_OR_RETURN(stream.memory_,
                            Arena::create(activations + results + workspaces, "measuring"));
    stream.results_at_ = activations;
    stream.workspaces_at_ = activations + results;
    stream.touch();
    stream.prepare();
    return stream;
  }

  // Bytes per second.
  double run(int64_t prefetch_bytes) {
    const PackedLayout& layout = kernel_.layout;
    const int64_t piece = std::max<int64_t>(1, kPieceBytes / layout.stripe_bytes());
    const auto start = Clock::now();
    pool_->parallel_for(layout.stripes(), piece, [&](int64_t begin, int64_t end, int worker) {
      LinearArgs args{};
      args.weight = {layout, weights_.data()};
      args.stripe_begin = begin;
      args.stripe_end = end;
      args.activations = memory_.data();
      args.rows = 1;
      args.row_end = 1;
      args.y = reinterpret_cast<float*>(memory_.data() + results_at_);
      args.y_stride = layout.rows;
      args.workspace = memory_.data() + workspaces_at_ + worker * kLinearWorkspaceBytes;
      args.prefetch_bytes = prefetch_bytes;
      kernel_.linear.run(args);
    });
    const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
    return static_cast<double>(layout.bytes()) / seconds;
  }

 private:
  Stream(const StreamingKernel& kernel, ThreadPool& pool) : kernel_(kernel), pool_(&pool) {}

  // Zeros that nobody wrote would all be one page. Ranges of scales are those of weights that need no care:
  // the kernel of MXFP4 would multiply all others in a slower way.
  void touch() {
    const int64_t stripe = kernel_.layout.stripe_bytes();
    const int64_t piece = std::max<int64_t>(1, kPieceBytes / stripe);
    pool_->parallel_for(kernel_.layout.stripes(), piece, [&](int64_t begin, int64_t end, int) {
      for (int64_t i = begin; i < end; ++i) {
        std::byte* const at = weights_.data() + i * stripe;
        std::memset(at, 0, static_cast<size_t>(stripe));
        const Mxfp4Range range;
        if (kernel_.layout.form == PackedForm::mxfp4) std::memcpy(at, &range, sizeof range);
      }
    });
    memory_.touch();
  }

  void prepare() {
    const std::vector<float> x(static_cast<size_t>(kernel_.layout.columns), 1.0f);
    PrepareArgs args{};
    args.x = x.data();
    args.x_stride = kernel_.layout.columns;
    args.rows = 1;
    args.columns = kernel_.layout.columns;
    args.row_end = 1;
    args.out = memory_.data();
    kernel_.prepare.run(args);
  }

  StreamingKernel kernel_;
  ThreadPool* pool_;
  Arena weights_ = {};
  Arena memory_ = {};  // activations, results, workspaces
  int64_t results_at_ = 0;
  int64_t workspaces_at_ = 0;
};

std::optional<MemoryTuning> parse_tuning(const std::string& text, const std::string& path) {
  const auto document = parse_json_object(text, path);
  if (!document.ok()) return std::nullopt;
  const auto* const version = member(*document, "schema_version");
  const auto* const distance = member(*document, "prefetch_bytes");
  const auto* const huge = member(*document, "huge_pages");
  if (version == nullptr || *version != kTuningVersion) return std::nullopt;
  if (distance == nullptr || !distance->is_number_integer()) return std::nullopt;
  if (huge == nullptr || !huge->is_boolean()) return std::nullopt;
  const MemoryTuning tuning{distance->get<int64_t>(), huge->get<bool>()};
  const bool known = std::ranges::find(kDistances, tuning.prefetch_bytes) != std::end(kDistances);
  return known ? std::optional(tuning) : std::nullopt;
}

Result<void> keep(const MemoryTuning& tuning, std::span<const MemoryRate> rates,
                  const std::string& path) {
  Json measured = Json::array();
  for (const MemoryRate& each : rates) {
    measured.push_back({{"prefetch_bytes", each.tuning.prefetch_bytes},
                        {"huge_pages", each.tuning.huge_pages},
                        {"gb_s", each.gb_s}});
  }
  const Json document = {{"schema_version", kTuningVersion},
                         {"cpu", cpu_features().model},
                         {"prefetch_bytes", tuning.prefetch_bytes},
                         {"huge_pages", tuning.huge_pages},
                         {"measured", std::move(measured)}};
  const std::string text = document.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
  std::error_code ignored;  // of a folder that cannot be made, writing tells
  std::filesystem::create_directories(std::filesystem::path(path).parent_path(), ignored);
  return write_file_atomically(path, std::as_bytes(std::span(text)));
}

}  // namespace

MemoryTuning fastest(std::span<const MemoryRate> rates) {
  const auto best = std::ranges::max_element(rates, {}, &MemoryRate::gb_s);
  if (best == rates.end()) return {};
  const auto usual = std::ranges::find(rates, MemoryTuning(), &MemoryRate::tuning);
  const bool worthwhile = usual == rates.end() || best->gb_s > kWorthwhile * usual->gb_s;
  return worthwhile ? best->tuning : MemoryTuning();
}

std::optional<StreamingKernel> streaming_kernel(const Program& program, const Weights& weights,
                                                const Kernels& kernels) {
  std::map<std::string, int64_t> bytes_of;  // by name of the kernel
  std::optional<StreamingKernel> largest;
  for (const Node& node : program.nodes) {
    const bool multiplies = node.op == Op::linear || node.op == Op::experts;
    if (!multiplies || select_runner(program, node) != Runner::kernel) continue;
    for (const ValueId operand : node.operands) {
      if (!is_weight(program, operand)) continue;
      const HeldWeight& weight = weights.of(program, operand);
      if (!weight.packed) continue;
      const auto arithmetic = weight.arithmetic[index(RowClass::generated)];
      const auto a = static_cast<size_t>(arithmetic);
      const StreamingKernel kernel{
          kernels.linear[a][static_cast<size_t>(weight.packed->layout.form)], kernels.prepare[a],
          arithmetic, weight.packed->layout};
      if (kernel.linear.run == nullptr) continue;
      bytes_of[kernel.linear.name] += weight.matrices * weight.packed->layout.bytes();
      if (!largest || bytes_of[kernel.linear.name] > bytes_of[largest->linear.name])
        largest = kernel;
    }
  }
  return largest;
}

Result<std::vector<MemoryRate>> measure_memory(const StreamingKernel& kernel, ThreadPool& pool,
                                               int64_t bytes, double seconds) {
  DUNLIN_ASSIGN_OR_RETURN(Stream huge, Stream::create(kernel, pool, bytes, Pages::huge));
  DUNLIN_ASSIGN_OR_RETURN(Stream small, Stream::create(kernel, pool, bytes, Pages::small));
  std::vector<MemoryRate> rates;
  for (const int64_t distance : kDistances) {
    for (const bool huge_pages : {true, false}) rates.push_back({{distance, huge_pages}});
  }
  std::vector<std::vector<double>> samples(rates.size());
  const auto start = Clock::now();
  const auto spent = [&] { return std::chrono::duration<double>(Clock::now() - start).count(); };
  for (int round = 0; round < 3 || spent() < seconds; ++round) {
    for (size_t i = 0; i < rates.size(); ++i) {
      const MemoryTuning& tuning = rates[i].tuning;
      Stream& stream = tuning.huge_pages ? huge : small;
      samples[i].push_back(1e-9 * stream.run(tuning.prefetch_bytes));
    }
  }
  for (size_t i = 0; i < rates.size(); ++i) rates[i].gb_s = median(std::move(samples[i]));
  return rates;
}

std::string tuning_path(const std::string& folder, const StreamingKernel& kernel, int threads) {
  std::string cpu = cpu_features().model;
  std::ranges::replace_if(cpu, [](unsigned char c) { return std::isalnum(c) == 0; }, '-');
  return fmt::format("{}/memory-{}-{}-{}.json", folder, cpu, threads, kernel.linear.name);
}

TunedMemory tune_memory(const StreamingKernel& kernel, ThreadPool& pool, const std::string& folder,
                        int64_t most_bytes) {
  const std::string path = tuning_path(folder, kernel, pool.threads());
  const auto text = read_text_file(path, kMostTuningBytes);
  const auto kept = text.ok() ? parse_tuning(*text, path) : std::nullopt;
  if (kept) return {*kept, fmt::format("measured before, kept in {}", path)};
  if (most_bytes == 0) return {};
  const auto rates = measure_memory(kernel, pool, std::min(most_bytes, kStreamBytes), kSeconds);
  if (!rates.ok()) return {{}, fmt::format("not measured: {}", rates.error().message)};
  const MemoryTuning tuning = fastest(*rates);
  const auto written = keep(tuning, *rates, path);
  return {tuning, written.ok() ? fmt::format("measured, kept in {}", path)
                               : fmt::format("measured, not kept: {}", written.error().message)};
}

}  // namespace dunlin::cpu
