// The families of kernels. Kernels that hand each other data in a layout of their instruction set
// are one family: those that prepare activations and the linears that read them.
#include "backend/cpu/optimizations.h"

#include <algorithm>
#include <ranges>

#include "backend/cpu/fuse.h"

namespace dunlin::cpu {

namespace {

struct KernelFamily {
  const char* name;
  const char* brings;
  void (*copy)(const Kernels& from, Kernels& to);
};

template <Arithmetic arithmetic>
void copy_linear(const Kernels& from, Kernels& to) {
  constexpr auto a = static_cast<size_t>(arithmetic);
  to.prepare[a] = from.prepare[a];
  std::ranges::copy(from.linear[a], to.linear[a]);
}

void copy_attention(const Kernels& from, Kernels& to) {
  std::ranges::copy(from.kv_write, to.kv_write);
  std::ranges::copy(from.attention_split, to.attention_split);
  std::ranges::copy(from.attention, to.attention);
  to.attention_merge = from.attention_merge;
}

void copy_elementwise(const Kernels& from, Kernels& to) {
  to.add = from.add;
  to.mul = from.mul;
  to.add_scaled = from.add_scaled;
  std::ranges::copy(from.gated, to.gated);
}

void copy_logits(const Kernels& from, Kernels& to) {
  to.logit_statistics = from.logit_statistics;
  to.top_k = from.top_k;
}

constexpr KernelFamily kFamilies[] = {
    {"simd_linear_f32", "vector kernels of linear in float32", copy_linear<Arithmetic::f32>},
    {"simd_linear_bf16", "vector and tile kernels of linear in bf16",
     copy_linear<Arithmetic::bf16>},
    {"simd_linear_int8", "vector and tile kernels of linear in int8",
     copy_linear<Arithmetic::int8>},
    {"simd_linear_int8wide", "vector and tile kernels of linear in int8wide",
     copy_linear<Arithmetic::int8wide>},
    {"simd_attention", "vector and tile kernels of attention, and of writes to the KV cache",
     copy_attention},
    {"simd_rms_norm", "vector kernel of rms_norm",
     [](const Kernels& from, Kernels& to) { to.rms_norm = from.rms_norm; }},
    {"simd_rope", "vector kernel of rope",
     [](const Kernels& from, Kernels& to) {
       to.rope_angles = from.rope_angles;
       to.rope = from.rope;
     }},
    {"simd_elementwise", "vector kernels of add, mul, gated and of the sum over experts",
     copy_elementwise},
    {"simd_logits", "vector kernels of the logits' statistics and candidates", copy_logits},
};

}  // namespace

std::vector<Optimization> optimizations() {
  std::vector<Optimization> all;
  for (const Rewrite& rewrite : std::views::reverse(rewrites()))
    all.push_back({rewrite.name, rewrite.brings});
  all.push_back({kMemoryReuse, "values that are no longer read make room for others"});
  all.push_back(
      {kMemoryTuning, "how weights are read fastest is measured when a large model is loaded"});
  all.push_back({kGqa, "query heads of one kv head read its keys and values without copies"});
  all.push_back({kMoeGrouping, "each expert of a mixture is read once for all rows that chose it"});
  for (const KernelFamily& family : kFamilies) all.push_back({family.name, family.brings});
  return all;
}

Kernels enabled_kernels(Isa isa, const CompileOptions& options) {
  Kernels table = kernels(isa);
  for (const KernelFamily& family : kFamilies) {
    if (!options.enabled(family.name)) family.copy(kernels(Isa::scalar), table);
  }
  return table;
}

}  // namespace dunlin::cpu
