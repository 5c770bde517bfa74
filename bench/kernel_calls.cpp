// One call of one of the main CPU kernels, for bench/instruction_counts: Callgrind counts what runs
// inside of dunlin_counted_call(), and nothing else. Sizes are small, because Callgrind takes about
// fifty times as long, and such that every loop of a kernel runs.
//   kernel_calls --list    names the calls of the instruction set (DUNLIN_ISA, or the best there is)
//   kernel_calls --build   says what compiled this program
//   kernel_calls NAME      makes the call
#include <cstdint>
#include <cstdio>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "backend/cpu/isa.h"
#include "backend/cpu/kernels/kernels.h"
#include "backend/cpu/kernels/packed.h"
#include "base/thread_pool.h"
#include "formats/format.h"
#include "kernel_data.h"

// Not a tail call: what is counted ends when this function is left.
extern "C" __attribute__((noinline)) void dunlin_counted_call(const std::function<void()>& call) {
  call();
  asm volatile("" ::: "memory");
}

namespace dunlin {
namespace {

using Call = std::function<void()>;
using Calls = std::map<std::string, std::function<Call()>>;  // what prepares each call

std::shared_ptr<Memory> zeros(int64_t bytes) {
  return std::make_shared<Memory>(bytes);
}

std::shared_ptr<Memory> numbers(int64_t count) {
  auto memory = zeros(count * 4);
  for (int64_t i = 0; i < count; ++i) memory->floats()[i] = static_cast<float>(i % 17) - 8.0f;
  return memory;
}

struct LinearShape {
  Arithmetic arithmetic;
  PackedForm form;
  int64_t rows;
  int64_t channels = 256;
  int64_t columns = 1024;
};

Call linear_call(const Kernels& table, const LinearShape& shape) {
  const auto weights =
      std::make_shared<Weights>(layout_of(shape.form, shape.channels, shape.columns), 0);
  const auto x = numbers(shape.rows * shape.columns);
  const auto activations = zeros(activation_bytes(shape.arithmetic, shape.rows, shape.columns));
  const auto workspace = zeros(kLinearWorkspaceBytes);
  const auto y = zeros(shape.rows * shape.channels * 4);
  const auto arithmetic = static_cast<size_t>(shape.arithmetic);
  table.prepare[arithmetic].run(
      {x->floats(), shape.columns, shape.rows, shape.columns, 0, shape.rows, activations->data});
  LinearArgs args{};
  args.weight = weights->copy(0);
  args.stripe_end = args.weight.layout.stripes();
  args.activations = activations->data;
  args.rows = shape.rows;
  args.row_end = shape.rows;
  args.y = y->floats();
  args.y_stride = shape.channels;
  args.workspace = workspace->data;
  auto* const run = table.linear[arithmetic][static_cast<size_t>(shape.form)].run;
  // What the arguments point to lives as long as the call.
  return [run, args, weights, activations, workspace, y] { run(args); };
}

Call prepare_call(const Kernels& table, Arithmetic arithmetic, int64_t rows, int64_t columns) {
  const auto x = numbers(rows * columns);
  const auto out = zeros(activation_bytes(arithmetic, rows, columns));
  auto* const run = table.prepare[static_cast<size_t>(arithmetic)].run;
  return [=] { run({x->floats(), columns, rows, columns, 0, rows, out->data}); };
}

// `rows` query rows at the end of `length` keys, one kv head of `group` query heads.
Call attention_call(const Kernels& table, int64_t group, int64_t rows, int64_t length) {
  constexpr auto kType = KvType::bf16;
  constexpr int64_t kHeadDim = 64;
  const int64_t width = group * kHeadDim;
  const int64_t pages = (length + 15) / 16;
  const auto cache = zeros(pages * kv_page_bytes(kType, kHeadDim));
  const auto key = numbers(kHeadDim);
  for (int64_t u = 0; u < length; ++u) {
    table.kv_write[static_cast<size_t>(kType)].run(
        key->floats(), key->floats(), kHeadDim, u % 16,
        cache->data + u / 16 * kv_page_bytes(kType, kHeadDim));
  }
  const auto ids = std::make_shared<std::vector<int32_t>>();
  for (int64_t p = 0; p < pages; ++p) ids->push_back(static_cast<int32_t>(p));
  const auto positions = std::make_shared<std::vector<int32_t>>();
  for (int64_t r = 0; r < rows; ++r) positions->push_back(static_cast<int32_t>(length - rows + r));
  const auto q = numbers(rows * width);
  const auto y = zeros(rows * width * 4);
  const auto workspace = zeros(attention_workspace_bytes(kType, kHeadDim));
  AttentionArgs args{};
  args.q = q->floats();
  args.q_stride = width;
  args.rows = rows;
  args.positions = positions->data();
  args.group = group;
  args.head_dim = kHeadDim;
  args.pages = cache->data;
  args.page_stride = kv_page_bytes(kType, kHeadDim);
  args.page_ids = ids->data();
  args.length = length;
  args.causal = true;
  args.scale = 0.125f;
  args.workspace = workspace->data;
  auto* const run = table.attention[static_cast<size_t>(kType)].run;
  return
      [run, args, width, y, cache, ids, positions, q, workspace] { run(args, y->floats(), width); };
}

void add_linears(const Kernels& table, Calls& calls) {
  std::vector<LinearShape> shapes;
  for (const PackedForm form : {PackedForm::q4, PackedForm::q4_min, PackedForm::q5, PackedForm::q6,
                                PackedForm::q8, PackedForm::mxfp4}) {
    for (const int64_t rows : {1, 8}) shapes.push_back({Arithmetic::int8, form, rows});
  }
  for (const int64_t rows : {1, 8})
    shapes.push_back({Arithmetic::int8wide, PackedForm::wide, rows});
  for (const PackedForm form : {PackedForm::bf16, PackedForm::q4, PackedForm::mxfp4}) {
    for (const int64_t rows : {1, 16}) shapes.push_back({Arithmetic::bf16, form, rows});
  }
  shapes.push_back({Arithmetic::f32, PackedForm::f32, 1});
  for (const LinearShape& shape : shapes) {
    const char* const name =
        table.linear[static_cast<size_t>(shape.arithmetic)][static_cast<size_t>(shape.form)].name;
    calls[std::string(name) + "/m" + std::to_string(shape.rows) + "_n256_k1024"] = [&table, shape] {
      return linear_call(table, shape);
    };
  }
  for (const Arithmetic arithmetic :
       {Arithmetic::f32, Arithmetic::bf16, Arithmetic::int8, Arithmetic::int8wide}) {
    const char* const name = table.prepare[static_cast<size_t>(arithmetic)].name;
    calls[std::string(name) + "/m16_k1024"] = [&table, arithmetic] {
      return prepare_call(table, arithmetic, 16, 1024);
    };
  }
}

void add_attention(const Kernels& table, Calls& calls) {
  const std::string name = table.attention[static_cast<size_t>(KvType::bf16)].name;
  calls[name + "/decode_h64_g4_512"] = [&table] { return attention_call(table, 4, 1, 512); };
  calls[name + "/prefill_h64_g4_64"] = [&table] { return attention_call(table, 4, 64, 64); };
}

// Of one row or vector.
void add_rows(const Kernels& table, Calls& calls) {
  constexpr int64_t kWidth = 2048;
  constexpr int64_t kVocabulary = 32768;
  const auto add = [&calls](const char* kernel, const std::string& shape,
                            std::function<Call()> prepare) {
    calls[std::string(kernel) + "/" + shape] = std::move(prepare);
  };
  for (const PackedForm form : {PackedForm::q4, PackedForm::q6, PackedForm::mxfp4}) {
    const auto kernel = table.decode_row[static_cast<size_t>(form)];
    add(kernel.name, "k2048", [kernel, form]() -> Call {
      const auto weights = std::make_shared<Weights>(layout_of(form, 16, kWidth), 0);
      const auto y = zeros(kWidth * 4);
      return [=] { kernel.run(weights->copy(0), 3, 1.0f, y->floats()); };
    });
  }
  add(table.rms_norm.name, "2048", [&table]() -> Call {
    const auto x = numbers(kWidth);
    const auto y = zeros(kWidth * 4);
    return
        [=, &table] { table.rms_norm.run(x->floats(), x->floats(), kWidth, 1e-5f, y->floats()); };
  });
  add(table.gated[0].name, "2048", [&table]() -> Call {
    const auto x = numbers(kWidth);
    const auto y = zeros(kWidth * 4);
    return [=, &table] {
      table.gated[0].run(x->floats(), x->floats(), kWidth, 0.0f, 0.0f, y->floats());
    };
  });
  add(table.rope.name, "32x64", [&table]() -> Call {
    const auto x = numbers(kWidth);
    const auto angles = numbers(64);
    const auto y = zeros(kWidth * 4);
    return [=, &table] { table.rope.run(x->floats(), 32, 64, 64, angles->floats(), y->floats()); };
  });
  add(table.logit_statistics.name, "32768", [&table]() -> Call {
    const auto x = numbers(kVocabulary);
    return [=, &table] {
      LogitStatistics statistics{};
      table.logit_statistics.run(x->floats(), kVocabulary, &statistics);
    };
  });
  add(table.top_k.name, "32768_k64", [&table]() -> Call {
    const auto x = numbers(kVocabulary);
    const auto values = zeros(64 * 4);
    const auto ids = std::make_shared<std::vector<int32_t>>(64);
    return [=, &table] {
      table.top_k.run(x->floats(), kVocabulary, 64, ids->data(), values->floats());
    };
  });
}

// A stripe of sixteen rows of a number format, as loading packs it; the same for all instruction sets.
void add_packing(Calls& calls) {
  constexpr int64_t kColumns = 1024;
  for (const Format format :
       {Format::bf16, Format::q4_0, Format::q4_k, Format::q6_k, Format::q8_0, Format::mxfp4}) {
    const FormatTraits& stored = traits(format);
    calls[std::string("pack_") + stored.name + "/m16_k1024"] = [&stored]() -> Call {
      const PackedLayout layout = *packed_layout(stored, kStripeRows, kColumns, false);
      const auto rows = zeros(kStripeRows * row_bytes(stored, kColumns));
      const auto scratch = zeros(pack_scratch_bytes(layout));
      const auto stripe = zeros(layout.stripe_bytes());
      return [=, &stored] {
        pack_stripe(layout, {&stored, kColumns}, rows->data, kStripeRows, scratch->data,
                    stripe->data);
      };
    };
  }
}

Calls all_calls(const Kernels& table) {
  Calls calls;
  add_linears(table, calls);
  add_attention(table, calls);
  add_rows(table, calls);
  add_packing(calls);
  return calls;
}

int run(const std::string& word) {
  if (word == "--build") {
#if defined(__clang__)
    std::printf("clang++ %s, %s\n", __clang_version__, DUNLIN_BUILD_TYPE);
#else
    std::printf("g++ %s, %s\n", __VERSION__, DUNLIN_BUILD_TYPE);
#endif
    return 0;
  }
  const auto isa = cpu::select_isa("");
  if (!isa.ok()) {
    std::fprintf(stderr, "error: %s\n", isa.error().message.c_str());
    return 2;
  }
  const Calls calls = all_calls(kernels(*isa));
  if (word == "--list") {
    for (const auto& [name, prepare] : calls) std::printf("%s\n", name.c_str());
    return 0;
  }
  const auto found = calls.find(word);
  if (found == calls.end()) {
    std::fprintf(stderr, "error: %s is no call of kernel_calls --list\n", word.c_str());
    return 2;
  }
  const FlushToZero flush_to_zero;
  const Call call = found->second();
  // Through a pointer that the compiler does not follow: no copy of the function is made for it.
  void (*volatile counted)(const Call&) = dunlin_counted_call;
  counted(call);
  return 0;
}

}  // namespace
}  // namespace dunlin

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: kernel_calls --list | --build | NAME\n");
    return 2;
  }
  return dunlin::run(argv[1]);
}
