// How weights are read: what is measured, what is chosen, where it is kept.
#include "backend/cpu/memory_tuning.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "backend/cpu/bind.h"
#include "backend/cpu/cpu_backend.h"
#include "backend/cpu/fuse.h"
#include "backend/cpu/memory_plan.h"
#include "backend/cpu/optimizations.h"
#include "backend/cpu/select.h"
#include "support/temporary_folder.h"
#include "tiny_model.h"

namespace dunlin::cpu {

namespace {

using testing::HasSubstr;

constexpr MemoryTuning kUsual{2048, true};
constexpr MemoryTuning kFar{8192, true};
constexpr MemoryTuning kSmall{2048, false};

TEST(MemoryTuning, TheFastestIsTakenWhereItIsWorthwhile) {
  EXPECT_EQ(fastest({}), kUsual);
  EXPECT_EQ(fastest(std::vector<MemoryRate>{{kUsual, 10}, {kFar, 10.2}, {kSmall, 9}}), kUsual);
  EXPECT_EQ(fastest(std::vector<MemoryRate>{{kUsual, 10}, {kFar, 10.4}, {kSmall, 9}}), kFar);
  EXPECT_EQ(fastest(std::vector<MemoryRate>{{kFar, 10}, {kUsual, 10}, {kSmall, 12}}), kSmall);
}

struct Tuned {
  TinyModel model;
  std::vector<FusedStep> steps;
  CompileOptions options;
  Weights weights;
  std::unique_ptr<ThreadPool> pool;

  static Tuned of(const std::string& family, const std::string& format,
                  Precision precision = Precision::automatic) {
    Tuned tuned;
    tuned.model = tiny_model(family, format);
    tuned.options = tiny_options(precision, 2);
    tuned.steps = fuse(tuned.model.program);
    tuned.weights =
        Weights::lay_out(tuned.model.program, tuned.steps, tuned.model.weights, tuned.options)
            .value();
    tuned.pool = ThreadPool::create(2).value();
    return tuned;
  }
  StreamingKernel kernel() const {
    return streaming_kernel(model.program, weights, kernels(Isa::scalar)).value();
  }
};

TEST(MemoryTuning, IsOfTheKernelThatReadsMostWeights) {
  EXPECT_STREQ(Tuned::of("llama", "Q4_0").kernel().linear.name, "linear_int8_q4_scalar");
  EXPECT_STREQ(Tuned::of("llama", "BF16").kernel().linear.name, "linear_bf16_bf16_scalar");
  // Q6_K has the value and down projections and the head, Q4_K the larger rest.
  EXPECT_STREQ(Tuned::of("llama", "mixed").kernel().linear.name, "linear_int8_q4_min_scalar");
  EXPECT_STREQ(Tuned::of("llama", "Q4_0", Precision::fast).kernel().linear.name,
               "linear_int8wide_wide_scalar");
  // Nearly all weights of a mixture are its experts'.
  const Tuned mixture = Tuned::of("gpt_oss", "MXFP4");
  EXPECT_STREQ(mixture.kernel().linear.name, "linear_bf16_mxfp4_scalar");
}

TEST(MemoryTuning, EveryDistanceIsMeasuredInBothKindsOfPages) {
  const Tuned tuned = Tuned::of("llama", "Q4_0");
  const auto rates = measure_memory(tuned.kernel(), *tuned.pool, 1 << 20, 0).value();
  std::vector<int64_t> huge;
  std::vector<int64_t> small;
  for (const MemoryRate& each : rates) {
    EXPECT_GT(each.gb_s, 0);
    (each.tuning.huge_pages ? huge : small).push_back(each.tuning.prefetch_bytes);
  }
  EXPECT_EQ(huge, small);
  EXPECT_THAT(huge, testing::Contains(kPrefetchBytes));
  EXPECT_GT(huge.size(), 1u);
}

TEST(MemoryTuning, WithoutMemoryNothingIsMeasured) {
  const Tuned tuned = Tuned::of("llama", "Q4_0");
  const auto rates = measure_memory(tuned.kernel(), *tuned.pool, int64_t{1} << 60, 0);
  ASSERT_FALSE(rates.ok());
  EXPECT_EQ(rates.error().kind, ErrorKind::does_not_fit);
}

class KeptTuning : public testing::Test {
 protected:
  std::string path() const { return tuning_path(folder_.path(), kernel_, 2); }
  void write(const std::string& text) const { std::ofstream(path()) << text; }
  TunedMemory tune(int64_t most_bytes) const {
    return tune_memory(kernel_, *tuned_.pool, folder_.path(), most_bytes);
  }

  TemporaryFolder folder_;
  Tuned tuned_ = Tuned::of("llama", "Q4_0");
  StreamingKernel kernel_ = tuned_.kernel();
};

TEST_F(KeptTuning, IsMeasuredOnce) {
  const TunedMemory first = tune(1 << 20);
  EXPECT_THAT(first.origin, HasSubstr("measured, kept in " + path()));
  const TunedMemory second = tune(1 << 20);
  EXPECT_EQ(second.origin, "measured before, kept in " + path());
  EXPECT_EQ(second.tuning, first.tuning);
}

TEST_F(KeptTuning, IsWhatTheFileSays) {
  write(R"({"schema_version": 1, "prefetch_bytes": 8192, "huge_pages": false})");
  EXPECT_EQ(tune(0).tuning, (MemoryTuning{8192, false}));
}

TEST_F(KeptTuning, IsMeasuredAgainWhereTheFileIsWrong) {
  for (const char* text :
       {"", "{", "[]", "{}", R"({"schema_version": 2, "prefetch_bytes": 8192, "huge_pages": true})",
        R"({"schema_version": 1, "prefetch_bytes": 8193, "huge_pages": true})",
        R"({"schema_version": 1, "prefetch_bytes": -8192, "huge_pages": true})",
        R"({"schema_version": 1, "prefetch_bytes": 8192.0, "huge_pages": true})",
        R"({"schema_version": 1, "prefetch_bytes": 8192, "huge_pages": 1})",
        R"({"schema_version": 1, "huge_pages": true})"}) {
    write(text);
    EXPECT_EQ(tune(0).origin, "as usual") << text;
    EXPECT_EQ(tune(0).tuning, kUsual) << text;
    EXPECT_THAT(tune(1 << 20).origin, HasSubstr("measured, kept in")) << text;
    EXPECT_THAT(tune(0).origin, HasSubstr("measured before")) << text;
  }
}

TEST_F(KeptTuning, IsUsedWhereItCannotBeKept) {
  std::filesystem::create_directory(path());
  EXPECT_THAT(tune(1 << 20).origin, HasSubstr("measured, not kept: "));
}

// Through compile(): what an executable says of itself.
class TunedExecutable : public KeptTuning {
 protected:
  std::string compiled(CompileOptions options) const {
    options.isa = "scalar";
    const auto executable =
        make_cpu_backend()->compile(tuned_.model.program, tuned_.model.weights, options).value();
    return executable->memory_tuning();
  }
  CompileOptions tuned(uint64_t least_bytes) const {
    CompileOptions options = tuned_.options;
    options.memory_tuning = {.folder = folder_.path(), .least_bytes = least_bytes};
    return options;
  }
  bool is_kept() const { return std::filesystem::exists(path()); }
};

TEST_F(TunedExecutable, MeasuresAndFindsIt) {
  EXPECT_THAT(compiled(tuned(0)), HasSubstr("measured, kept in"));
  EXPECT_TRUE(is_kept());
  write(R"({"schema_version": 1, "prefetch_bytes": 4096, "huge_pages": false})");
  EXPECT_THAT(compiled(tuned(0)), HasSubstr("4096 bytes ahead, small pages (measured before"));
}

TEST_F(TunedExecutable, MeasuresNothingThatIsSmallOrNotWanted) {
  const std::string usual = "weights asked for 2048 bytes ahead, huge pages (as usual)";
  EXPECT_EQ(compiled(tuned_.options), usual);
  EXPECT_EQ(compiled(tuned(uint64_t{1} << 30)), usual);
  CompileOptions disabled = tuned(0);
  disabled.disabled = {kMemoryTuning};
  EXPECT_EQ(compiled(disabled), usual);
  EXPECT_FALSE(is_kept());
}

std::vector<uint32_t> logits_of(const TinyModel& model, const CompileOptions& options) {
  const auto backend = make_cpu_backend();
  TinySession session(*backend, model, options);
  std::vector<uint32_t> bits;
  for (const auto& row : prompt_and_decode(session, 0, 20, 20, 3)) {
    for (const float logit : row) bits.push_back(std::bit_cast<uint32_t>(logit));
  }
  return bits;
}

TEST(MemoryTuning, ChangesNoBit) {
  for (const Tuned& each : {Tuned::of("llama", "Q4_0"), Tuned::of("gpt_oss", "MXFP4")}) {
    const auto wanted = logits_of(each.model, each.options);
    const TemporaryFolder folder;
    for (const Isa isa : isas_up_to(cpu_features().best)) {
      const auto kernel = streaming_kernel(each.model.program, each.weights, kernels(isa)).value();
      std::ofstream(tuning_path(folder.path(), kernel, 2))
          << R"({"schema_version": 1, "prefetch_bytes": 8192, "huge_pages": false})";
      CompileOptions options = each.options;
      options.isa = isa_name(isa);
      options.memory_tuning = {.folder = folder.path(), .least_bytes = 0};
      EXPECT_EQ(logits_of(each.model, options), wanted) << isa_name(isa);
    }
  }
}

// Of the kernels that are called, whatever they would multiply.
std::vector<int64_t> distances;
void note_distance(const LinearArgs& args) noexcept {
  distances.push_back(args.prefetch_bytes);
}

TEST(MemoryTuning, ReachesTheKernelsOfLinearsAndExperts) {
  const TinyModel model = tiny_model("gpt_oss", "MXFP4");
  const CompileOptions options = tiny_options(Precision::automatic);
  const std::vector<FusedStep> steps = fuse(model.program);
  Kernels table = kernels(Isa::scalar);
  for (auto& row : table.linear) {
    for (Kernel<LinearFunction>& kernel : row) {
      if (kernel.run != nullptr) kernel.run = note_distance;
    }
  }
  const auto layout = Weights::lay_out(model.program, steps, model.weights, options).value();
  const Arena arena = Arena::create(static_cast<int64_t>(layout.bytes()), "weights").value();
  const auto weights =
      Weights::lay_out(model.program, steps, model.weights, options, arena.data()).value();
  Binding binding{model.program, options, table, weights, KvType::bf16, {}};
  binding.prefetch_bytes = 4096;
  const MemoryPlan plan = plan_memory(model.program, steps, options.limits, /*reuse=*/false);
  const Arena values = Arena::create(plan.bytes, "values").value();
  for (size_t i = 0; i < plan.offsets.size(); ++i) {
    const auto id = static_cast<ValueId>(i);
    std::byte* const memory = values.data() + plan.offsets[i];
    auto* const plain = is_weight(model.program, id)
                            ? const_cast<float*>(weights.of(model.program, id).plain)
                            : nullptr;
    binding.addresses.push_back(plan.offsets[i] < 0 ? reinterpret_cast<std::byte*>(plain) : memory);
  }
  const auto backend = make_cpu_backend();
  TinySession session(*backend, model, options);
  const StepPlan step_plan = session.plan({{0, 1, RowClass::generated}});
  StepTables tables(options.limits);
  tables.read(step_plan);
  const auto pool = ThreadPool::create(1).value();
  for (const FusedStep& step : steps) {
    const Op op = binding.node(step.node).op;
    if (op != Op::linear && op != Op::experts) continue;
    const auto bound = bind(binding, step);
    const Arena scratch = Arena::create(bound->scratch_bytes() + 64, "scratch").value();
    const Arena workspace = Arena::create(bound->workspace_bytes() + 64, "workspace").value();
    distances.clear();
    bound->run({step_plan, dynamic_cast<CpuKvState&>(session.state()), tables, *pool,
                scratch.data(), workspace.data(), 0});
    EXPECT_THAT(distances, testing::Not(testing::IsEmpty())) << op_name(op);
    EXPECT_THAT(distances, testing::Each(4096)) << op_name(op);
  }
}

// "nh" among the flags of a mapping: no huge pages (proc(5)).
int64_t mappings_of_small_pages() {
  std::ifstream file("/proc/self/smaps");
  int64_t count = 0;
  for (std::string line; std::getline(file, line);)
    count += line.starts_with("VmFlags:") && line.find(" nh") != std::string::npos ? 1 : 0;
  return count;
}

TEST_F(TunedExecutable, SmallPagesAreThoseOfTheWeights) {
  const auto added = [&](const char* huge_pages) {
    write(std::string(R"({"schema_version": 1, "prefetch_bytes": 2048, "huge_pages": )") +
          huge_pages + "}");
    CompileOptions options = tuned(0);
    options.isa = "scalar";
    const int64_t before = mappings_of_small_pages();
    const auto executable =
        make_cpu_backend()->compile(tuned_.model.program, tuned_.model.weights, options).value();
    return mappings_of_small_pages() - before;
  };
  EXPECT_EQ(added("true"), 0);
  EXPECT_EQ(added("false"), 1);
}

}  // namespace

}  // namespace dunlin::cpu
