#include "planner/calibration_block.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "program/ops.h"

namespace dunlin {

namespace {

using BlockClock = std::chrono::steady_clock;

constexpr int64_t kVocabulary = 16;

void record_layers(Recorder& recorder, const BlockSizes& s) {
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

}  // namespace

double BlockSizes::weights() const {
  const int64_t attention = width * head_dim * (2 * heads + 2 * kv_heads);
  return static_cast<double>(layers * (attention + 3 * width * ffn));
}

double BlockSizes::elements() const {
  const int64_t attention = 4 * width + head_dim * (2 * heads + 2 * kv_heads);
  return static_cast<double>(layers * (attention + 3 * (width + ffn)));
}

double BlockSizes::kv_bytes() const {
  return static_cast<double>(layers * kv_heads * head_dim * 2 * 2);
}

Result<Program> record_block(const BlockSizes& sizes) {
  return record("calibration", {},
                [&sizes](Recorder& recorder) { record_layers(recorder, sizes); });
}

Result<CalibrationBlock> CalibrationBlock::create(Backend& backend, const BlockSizes& sizes,
                                                  Format format, int64_t context, int threads) {
  DUNLIN_ASSIGN_OR_RETURN(const Program program, record_block(sizes));
  const StepLimits limits{.rows = kPromptRows, .logit_rows = 1, .sequences = 1, .context = context};
  CompileOptions options;
  options.limits = limits;
  options.threads = threads;
  CalibrationBlock block;
  DUNLIN_ASSIGN_OR_RETURN(block.executable_,
                          backend.compile(program, zero_weights(program, format), options));
  const int64_t pages = (context + kPageTokens - 1) / kPageTokens;
  DUNLIN_ASSIGN_OR_RETURN(block.kv_, block.executable_->make_kv_state({pages}));
  KvTable& table = block.plan_.tables.emplace_back();
  table.first = {0, static_cast<int32_t>(pages)};
  for (int32_t page = 0; page < pages; ++page) table.pages.push_back(page);
  block.plan_.logit_rows = {0};
  // But for the embedding, of which a step reads a row.
  const auto embedded = static_cast<double>(kVocabulary * sizes.width) * sizeof(float);
  block.weight_bytes_ = static_cast<double>(block.executable_->weights_bytes()) - embedded;
  return block;
}

double CalibrationBlock::step(int64_t rows, int64_t cached, RowClass row_class) {
  plan_.segments = {{1, static_cast<int32_t>(rows), row_class}};
  plan_.tokens.assign(static_cast<size_t>(rows), 0);
  plan_.positions.resize(static_cast<size_t>(rows));
  for (int64_t i = 0; i < rows; ++i) {
    plan_.positions[static_cast<size_t>(i)] = static_cast<int32_t>(cached + i);
  }
  const auto start = BlockClock::now();
  executable_->run(plan_, *kv_, output_);
  return std::chrono::duration<double>(BlockClock::now() - start).count();
}

// A few pages at a time stand for the first ones of the sequence, so that attention has little to see.
void CalibrationBlock::fill() {
  constexpr size_t kPages = kGeneratedRows / kPageTokens;
  KvTable& table = plan_.tables.front();
  const KvTable whole = table;
  const std::span<const int32_t> all(whole.pages);
  for (size_t first = 0; first < all.size(); first += kPages) {
    const auto some = all.subspan(first, std::min(kPages, all.size() - first));
    table.first = {0, static_cast<int32_t>(some.size())};
    table.pages.assign(some.begin(), some.end());
    step(std::ssize(some) * kPageTokens, 0, RowClass::generated);
  }
  table = whole;
}

}  // namespace dunlin
