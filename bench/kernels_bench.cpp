// Micro-benchmarks of the CPU kernels on one thread, next to the limits they are measured against
// (machine_peaks.h). Names are the kernels' own, then the case.
#include <benchmark/benchmark.h>

#include <string>
#include <utility>
#include <vector>

#include "backend/cpu/kernels/kernels.h"
#include "base/thread_pool.h"
#include "kernel_data.h"
#include "machine_peaks.h"

namespace dunlin {
namespace {

void linear(benchmark::State& state, Isa isa, Arithmetic arithmetic, PackedForm form, int64_t rows,
            int64_t channels, int64_t columns) {
  const FlushToZero flush_to_zero;
  const Kernels& table = kernels(isa);
  const PackedLayout layout = layout_of(form, channels, columns);
  const Weights weights(layout, rows == 1 ? int64_t{512} << 20 : 0);
  const Memory x(rows * columns * 4);
  for (int64_t i = 0; i < rows * columns; ++i) x.floats()[i] = static_cast<float>(i % 17) - 8.0f;
  const Memory activations(activation_bytes(arithmetic, rows, columns));
  const Memory workspace(kLinearWorkspaceBytes);
  const Memory y(rows * channels * 4);
  table.prepare[static_cast<int>(arithmetic)].run(
      {x.floats(), columns, rows, columns, 0, rows, activations.data});
  LinearArgs args{};
  args.stripe_end = layout.stripes();
  args.activations = activations.data;
  args.rows = rows;
  args.row_end = rows;
  args.y = y.floats();
  args.y_stride = channels;
  args.workspace = workspace.data;
  int64_t copy = 0;
  for (auto _ : state) {
    args.weight = weights.copy(copy++);
    table.linear[static_cast<int>(arithmetic)][static_cast<int>(form)].run(args);
    benchmark::ClobberMemory();
  }
  state.SetBytesProcessed(state.iterations() * layout.bytes());
  state.counters["FLOP/s"] =
      benchmark::Counter(static_cast<double>(state.iterations() * 2 * rows * channels * columns),
                         benchmark::Counter::kIsRate);
}

void prepare(benchmark::State& state, Isa isa, Arithmetic arithmetic, int64_t rows,
             int64_t columns) {
  const FlushToZero flush_to_zero;
  const Memory x(rows * columns * 4);
  for (int64_t i = 0; i < rows * columns; ++i) x.floats()[i] = static_cast<float>(i % 17) - 8.0f;
  const Memory activations(activation_bytes(arithmetic, rows, columns));
  for (auto _ : state) {
    kernels(isa).prepare[static_cast<int>(arithmetic)].run(
        {x.floats(), columns, rows, columns, 0, rows, activations.data});
    benchmark::ClobberMemory();
  }
  state.SetBytesProcessed(state.iterations() * rows * columns * 4);
}

// `rows` query rows at the end of `length` keys, one kv head.
void attention(benchmark::State& state, Isa isa, KvType type, int64_t head_dim, int64_t group,
               int64_t rows, int64_t length) {
  const FlushToZero flush_to_zero;
  const int64_t pages = (length + 15) / 16;
  const int64_t page_bytes = kv_page_bytes(type, head_dim);
  const Memory cache(pages * page_bytes);
  std::vector<float> row(static_cast<size_t>(head_dim), 0.25f);
  for (int64_t u = 0; u < length; ++u) {
    kernels(isa).kv_write[static_cast<int>(type)].run(row.data(), row.data(), head_dim, u % 16,
                                                      cache.data + u / 16 * page_bytes);
  }
  std::vector<int32_t> ids;
  for (int64_t p = 0; p < pages; ++p) ids.push_back(static_cast<int32_t>(p));
  std::vector<int32_t> positions;
  for (int64_t r = 0; r < rows; ++r) positions.push_back(static_cast<int32_t>(length - rows + r));
  const int64_t width = group * head_dim;
  const std::vector<float> q(static_cast<size_t>(rows * width), 0.5f);
  std::vector<float> y(q.size());
  const Memory workspace(attention_workspace_bytes(type, head_dim));
  AttentionArgs args{};
  args.q = q.data();
  args.q_stride = width;
  args.rows = rows;
  args.positions = positions.data();
  args.group = group;
  args.head_dim = head_dim;
  args.pages = cache.data;
  args.page_stride = page_bytes;
  args.page_ids = ids.data();
  args.length = length;
  args.causal = true;
  args.scale = 0.125f;
  args.workspace = workspace.data;
  for (auto _ : state) {
    kernels(isa).attention[static_cast<int>(type)].run(args, y.data(), width);
    benchmark::ClobberMemory();
  }
  int64_t keys = 0;
  for (const int32_t t : positions) keys += t + 1;
  state.SetBytesProcessed(state.iterations() * length * head_dim * 2 * kv_element_bytes(type));
  state.counters["FLOP/s"] =
      benchmark::Counter(static_cast<double>(state.iterations() * keys * group * head_dim * 4),
                         benchmark::Counter::kIsRate);
}

void elements(benchmark::State& state, Isa isa, const char* what, int64_t n) {
  const FlushToZero flush_to_zero;
  const std::vector<float> a(static_cast<size_t>(n), 0.5f);
  std::vector<float> y(static_cast<size_t>(n));
  LogitStatistics statistics{};
  const std::string name = what;
  for (auto _ : state) {
    if (name == "rms_norm") kernels(isa).rms_norm.run(a.data(), a.data(), n, 1e-5f, y.data());
    if (name == "gated_silu") kernels(isa).gated[0].run(a.data(), a.data(), n, 0, 0, y.data());
    if (name == "logit_statistics") kernels(isa).logit_statistics.run(a.data(), n, &statistics);
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(state.iterations() * n);
}

void add_attention(Isa isa, int64_t head_dim, int64_t rows, int64_t length) {
  for (const auto& [type, kernel] :
       {std::pair(KvType::bf16, "attention_bf16_"), std::pair(KvType::int8, "attention_int8_")}) {
    const std::string name = std::string(kernel) + isa_name(isa) +
                             (rows == 1 ? "/decode_h" : "/prefill_h") + std::to_string(head_dim) +
                             "_g4_" + std::to_string(length);
    benchmark::RegisterBenchmark(name.c_str(), attention, isa, type, head_dim, 4, rows, length);
  }
}

void add_linear(Isa isa, Arithmetic arithmetic, PackedForm form, int64_t rows) {
  const char* name = kernels(isa).linear[static_cast<int>(arithmetic)][static_cast<int>(form)].name;
  const std::string full = std::string(name) + "/m" + std::to_string(rows) + "_n8192_k2048";
  benchmark::RegisterBenchmark(full.c_str(), linear, isa, arithmetic, form, rows, 8192, 2048);
}

void register_all(Isa isa) {
  for (const PackedForm form :
       {PackedForm::q4, PackedForm::q4_min, PackedForm::q5, PackedForm::q5_min, PackedForm::q6,
        PackedForm::q8, PackedForm::mxfp4}) {
    for (const int64_t rows : {1, 4, 8, 32}) add_linear(isa, Arithmetic::int8, form, rows);
  }
  for (const int64_t rows : {1, 4, 8, 32, 512}) {
    add_linear(isa, Arithmetic::bf16, PackedForm::mxfp4, rows);
    add_linear(isa, Arithmetic::int8wide, PackedForm::wide, rows);
  }
  for (const int64_t rows : {1, 4, 8}) add_linear(isa, Arithmetic::bf16, PackedForm::bf16, rows);
  for (const int64_t rows : {1, 16, 128, 512})
    add_linear(isa, Arithmetic::bf16, PackedForm::q4, rows);
  add_linear(isa, Arithmetic::bf16, PackedForm::bf16, 512);
  add_linear(isa, Arithmetic::f32, PackedForm::f32, 1);
  const std::string suffix = std::string("_") + isa_name(isa);
  for (const Arithmetic arithmetic : {Arithmetic::bf16, Arithmetic::int8, Arithmetic::int8wide}) {
    const std::string name = kernels(isa).prepare[static_cast<int>(arithmetic)].name;
    benchmark::RegisterBenchmark((name + "/m512_k2048").c_str(), prepare, isa, arithmetic, 512,
                                 2048);
  }
  add_attention(isa, 64, 1, 2048);
  add_attention(isa, 64, 512, 512);
  for (const int64_t head_dim : {64, 128}) {
    add_attention(isa, head_dim, 2048, 2048);
    // Seconds a call on the lesser ones.
    if (isa == cpu_features().best) add_attention(isa, head_dim, 8192, 8192);
  }
  for (const char* name : {"rms_norm", "gated_silu"}) {
    benchmark::RegisterBenchmark((name + ("_f32" + suffix) + "/2048").c_str(), elements, isa, name,
                                 2048);
  }
  benchmark::RegisterBenchmark(("logit_statistics_f32" + suffix + "/128256").c_str(), elements, isa,
                               "logit_statistics", 128256);
}

}  // namespace
}  // namespace dunlin

int main(int argc, char** argv) {
  using namespace dunlin;
  register_peaks();
  for (const Isa isa : isas_up_to(cpu_features().best)) {
    if (isa != Isa::scalar) register_all(isa);
  }
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
