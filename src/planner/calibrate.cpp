// Small Llama-like blocks in every number format, compiled and timed.
#include "planner/calibrate.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <map>

#include "program/ops.h"

namespace dunlin {

namespace {

using Clock = std::chrono::steady_clock;

constexpr int64_t kVocabulary = 64;
constexpr int64_t kPromptRows = 512;
constexpr int64_t kGeneratedRows = 64;  // enough that arithmetic decides
constexpr int64_t kMegabyte = 1 << 20;

struct BlockSizes {
  int64_t layers;
  int64_t width;
  int64_t ffn;
  int64_t heads;
  int64_t kv_heads;
  int64_t head_dim;

  // Multiplications of one row; a weight is one.
  double weights() const {
    const int64_t attention = width * head_dim * (2 * heads + 2 * kv_heads);
    return static_cast<double>(layers * (attention + 3 * width * ffn));
  }
  // What roofline.cpp counts a step for: two norms, attention and seven matrices a layer.
  double steps() const { return static_cast<double>(10 * layers); }
};

void record_blocks(Recorder& recorder, const BlockSizes& s) {
  const AxisList embed_axes{{Axis::embed, s.width}};
  const AxisList ffn{{Axis::ffn, s.ffn}};
  const AxisList queries{{Axis::kv_heads, s.kv_heads},
                         {Axis::q_group, s.heads / s.kv_heads},
                         {Axis::head_dim, s.head_dim}};
  const AxisList keys{{Axis::kv_heads, s.kv_heads}, {Axis::head_dim, s.head_dim}};
  const RopeAnglesAttributes rotary{
      .inv_freq = std::vector<float>(static_cast<size_t>(s.head_dim / 2), 0.5f)};
  const Tensor angles = rope_angles(recorder.positions(), rotary);
  Tensor x = embed(recorder.tokens(),
                   recorder.weights().matrix("embed", {{Axis::vocab, kVocabulary}}, embed_axes));
  for (int64_t i = 0; i < s.layers; ++i) {
    const Scope scope(recorder, "layers", i);
    const WeightScope w = recorder.weights().scope("layers").scope(i);
    const Tensor before = rms_norm(x, w.vector("norm1", embed_axes), {});
    const Tensor q = linear(before, w.matrix("q", queries, embed_axes));
    const Tensor k = linear(before, w.matrix("k", keys, embed_axes));
    const Tensor v = linear(before, w.matrix("v", keys, embed_axes));
    const Dims kv_dims{Symbol::rows, s.kv_heads, s.head_dim};
    const Tensor qh = rope(reshape(q, {Symbol::rows, s.heads, s.head_dim}), angles, {s.head_dim});
    const Tensor kh = rope(reshape(k, kv_dims), angles, {s.head_dim});
    const auto place = recorder.kv_layer(/*window=*/0, s.kv_heads, s.head_dim);
    const Tensor attended = attention(qh, kh, reshape(v, kv_dims), Tensor(),
                                      {.scale = 0.1f, .group = place.group, .layer = place.layer});
    const Tensor merged = reshape(attended, {Symbol::rows, s.heads * s.head_dim});
    x = x + linear(merged, w.matrix("o", embed_axes, queries));
    const Tensor after = rms_norm(x, w.vector("norm2", embed_axes), {});
    const Tensor gate = linear(after, w.matrix("gate", ffn, embed_axes));
    const Tensor up = linear(after, w.matrix("up", ffn, embed_axes));
    x = x + linear(gated(gate, up, {}), w.matrix("down", embed_axes, ffn));
  }
  recorder.output(kLogitsOutput, gather_rows(x, recorder.logit_rows()));
}

class ZeroSource final : public ByteSource {
 public:
  Result<void> read_at(uint64_t /*offset*/, std::span<std::byte> into) const override {
    std::memset(into.data(), 0, into.size());
    return {};
  }
  uint64_t size() const override { return UINT64_MAX; }
  const std::string& name() const override { return name_; }

 private:
  std::string name_ = "zeros";
};

// Matrices of layers in `format`, everything else in float32, all zero.
WeightSource zero_weights(const Program& program, Format format) {
  const auto source = std::make_shared<const ZeroSource>();
  std::map<std::string, WeightView> views;
  for (const WeightDeclaration& weight : program.weights) {
    WeightView view;
    view.name = weight.name;
    view.rows = weight.dims.size() == 1 ? 1 : extent(weight.dims[0]);
    view.columns = extent(weight.dims.back());
    const bool matrix = weight.dims.size() == 2 && weight.name.starts_with("layers.");
    view.format = matrix ? format : Format::f32;
    view.source = source;
    views[weight.name] = view;
  }
  return [views](const std::string& name) -> Result<WeightView> { return views.at(name); };
}

// A compiled block and its cache, run step by step.
class BlockRun {
 public:
  static Result<BlockRun> create(Backend& backend, const BlockSizes& sizes, Format format,
                                 int64_t context, int threads) {
    DUNLIN_ASSIGN_OR_RETURN(Program program, record("calibration", {}, [&](Recorder& recorder) {
                              record_blocks(recorder, sizes);
                            }));
    const StepLimits limits{
        .rows = kPromptRows, .logit_rows = 1, .sequences = 1, .context = context};
    BlockRun run;
    DUNLIN_ASSIGN_OR_RETURN(run.executable_,
                            backend.compile(program, zero_weights(program, format),
                                            {.limits = limits, .threads = threads}));
    const int64_t pages = (context + kPageTokens - 1) / kPageTokens;
    DUNLIN_ASSIGN_OR_RETURN(run.kv_, run.executable_->make_kv_state({pages}));
    KvTable& table = run.plan_.tables.emplace_back();
    table.first = {0, static_cast<int32_t>(pages)};
    for (int32_t page = 0; page < pages; ++page) table.pages.push_back(page);
    run.plan_.logit_rows = {0};
    return run;
  }

  // Seconds of a step of so many rows after `cached` positions, once it has run: the median of as
  // many as fit into `budget`, one at least.
  double time(int64_t rows, int64_t cached, RowClass row_class, double budget) {
    step(rows, cached, row_class);
    std::vector<double> times;
    double spent = 0;
    while (times.empty() || spent < budget) {
      times.push_back(step(rows, cached, row_class));
      spent += times.back();
    }
    std::ranges::sort(times);
    return times[times.size() / 2];
  }
  double step(int64_t rows, int64_t cached, RowClass row_class) {
    plan_.segments = {{1, static_cast<int32_t>(rows), row_class}};
    plan_.tokens.assign(static_cast<size_t>(rows), 0);
    plan_.positions.resize(static_cast<size_t>(rows));
    for (int64_t i = 0; i < rows; ++i) {
      plan_.positions[static_cast<size_t>(i)] = static_cast<int32_t>(cached + i);
    }
    const auto start = Clock::now();
    executable_->run(plan_, *kv_, output_);
    return std::chrono::duration<double>(Clock::now() - start).count();
  }

  double weights_bytes() const { return static_cast<double>(executable_->weights_bytes()); }
  const Executable& executable() const { return *executable_; }

 private:
  std::unique_ptr<Executable> executable_;
  std::unique_ptr<KvState> kv_;
  StepPlan plan_;
  StepOutput output_;
};

class Calibration {
 public:
  Calibration(Backend& backend, const CalibrationOptions& options)
      : backend_(backend), options_(options), unit_(options.seconds / 10) {}

  Result<CpuRates> run() {
    DUNLIN_RETURN_IF_ERROR(measure_steps());
    DUNLIN_RETURN_IF_ERROR(measure_stream());
    DUNLIN_RETURN_IF_ERROR(measure_attention());
    for (const Format format :
         {Format::bf16, Format::q8_0, Format::q4_0, Format::q4_k, Format::q6_k, Format::f32}) {
      DUNLIN_RETURN_IF_ERROR(measure_format(format));
    }
    report(1, "");
    return std::move(rates_);
  }

 private:
  void report(double fraction, const std::string& what) const {
    if (options_.progress) options_.progress(fraction, what);
  }

  // A block so small that little but its steps takes time.
  Result<void> measure_steps() {
    report(0, "a small block");
    const BlockSizes sizes{16, 128, 128, 4, 4, 32};
    DUNLIN_ASSIGN_OR_RETURN(BlockRun run,
                            BlockRun::create(backend_, sizes, Format::q8_0, 64, options_.threads));
    rates_.cpu = options_.cpu;
    rates_.calibrated = true;
    rates_.threads = run.executable().threads();
    rates_.isa = run.executable().isa();
    rates_.step_seconds = run.time(1, 0, RowClass::generated, 0.1 * unit_) / sizes.steps();
    return {};
  }

  Result<void> measure_stream() {
    for (const int64_t bytes : {64 * kMegabyte, 256 * kMegabyte, 1024 * kMegabyte}) {
      report(0.05, "reading memory");
      const auto measured =
          options_.stream(rates_.threads, static_cast<uint64_t>(bytes), 0.25 * unit_);
      // The largest may be more than there is; the smaller ones say enough.
      if (!measured.ok() && !rates_.stream.empty()) return {};
      DUNLIN_ASSIGN_OR_RETURN(const double bytes_per_second, measured);
      rates_.stream.push_back({static_cast<double>(bytes), bytes_per_second});
    }
    return {};
  }

  // Four layers whose cache outweighs their weights.
  Result<void> measure_attention() {
    report(0.15, "attention over a long cache");
    constexpr int64_t kContext = 4096;
    const BlockSizes sizes{4, 256, 256, 32, 8, 128};
    DUNLIN_ASSIGN_OR_RETURN(
        BlockRun run, BlockRun::create(backend_, sizes, Format::q8_0, kContext, options_.threads));
    double last = 0;
    for (int64_t cached = 0; cached < kContext; cached += kPromptRows) {
      last = run.step(kPromptRows, cached, RowClass::prompt);
    }
    const double visible = kContext - kPromptRows / 2.0;
    const auto queries = static_cast<double>(sizes.layers * sizes.heads * sizes.head_dim);
    rates_.attention_flops = 4 * queries * kPromptRows * visible / last;
    const double cache = static_cast<double>(sizes.layers * sizes.kv_heads * sizes.head_dim) *
                         kContext * 2 * 2;  // keys and values, bf16
    const double alone = run.time(1, 0, RowClass::generated, 0.1 * unit_);
    const double full = run.time(1, kContext - 1, RowClass::generated, 0.4 * unit_);
    const double rate = cache / std::max(full - alone, 1e-7);
    rates_.kv_fraction = std::min(1.0, rate / rates_.stream_bytes_per_second(cache));
    return {};
  }

  Result<void> measure_format(Format format) {
    report(0.3 + 0.12 * static_cast<double>(rates_.formats.size()), traits(format).name);
    const BlockSizes sizes{1, 2048, 5632, 16, 8, 128};
    DUNLIN_ASSIGN_OR_RETURN(BlockRun run,
                            BlockRun::create(backend_, sizes, format, 1024, options_.threads));
    const double bytes = run.weights_bytes();
    const double steps = sizes.steps() * rates_.step_seconds;
    const auto work = [&](int64_t rows) { return 2 * sizes.weights() * static_cast<double>(rows); };
    FormatRates rates{.format = traits(format).name};
    const double one = run.time(1, 0, RowClass::generated, 0.3 * unit_);
    const double reading = std::max(one - steps, one / 2);
    rates.decode_fraction = bytes / reading / rates_.stream_bytes_per_second(bytes);
    rates.generated_flops =
        work(kGeneratedRows) / run.time(kGeneratedRows, 0, RowClass::generated, 0.2 * unit_);
    rates.prompt_flops =
        work(kPromptRows) / run.time(kPromptRows, 0, RowClass::prompt, 0.3 * unit_);
    rates_.formats.push_back(rates);
    return {};
  }

  Backend& backend_;
  const CalibrationOptions& options_;
  double unit_;  // seconds: a tenth of all
  CpuRates rates_;
};

}  // namespace

Result<CpuRates> calibrate(Backend& backend, const CalibrationOptions& options) {
  return Calibration(backend, options).run();
}

}  // namespace dunlin
