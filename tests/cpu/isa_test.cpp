// The choice of an instruction set and its refusals.
#include "backend/cpu/isa.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "backend/cpu/cpu_backend.h"
#include "support/saved_environment.h"
#include "tiny_model.h"

namespace dunlin::cpu {
namespace {

using testing::HasSubstr;

CpuFeatures avx2_machine() {
  CpuFeatures features;
  features.best = Isa::avx2;
  features.flags = {"avx2", "fma", "f16c", "avx512f", "avx512bw"};
  return features;
}

CpuFeatures dotprod_machine() {
  CpuFeatures features;
  features.best = Isa::dotprod;
  features.flags = {"asimd", "asimddp"};
  return features;
}

TEST(IsaCandidates, AreOrderedWithAReasonForEveryRefusal) {
  const std::vector<IsaCandidate> candidates = isa_candidates(avx2_machine());
  ASSERT_EQ(candidates.size(), static_cast<size_t>(kIsas));
  EXPECT_EQ(candidates[0].isa, Isa::i8mm);
  EXPECT_EQ(candidates[0].refusal, "the processor lacks asimd, asimddp, i8mm");
  EXPECT_EQ(candidates[1].isa, Isa::dotprod);
  EXPECT_EQ(candidates[2].isa, Isa::neon);
  EXPECT_EQ(candidates[2].refusal, "the processor lacks asimd");
  EXPECT_EQ(candidates[3].isa, Isa::amx);
  EXPECT_EQ(candidates[3].refusal,
            "the processor lacks avx512dq, avx512vl, avx512_vnni, amx_tile, amx_int8, amx_bf16");
  EXPECT_EQ(candidates[4].isa, Isa::avx512);
  EXPECT_EQ(candidates[4].refusal, "the processor lacks avx512dq, avx512vl, avx512_vnni");
  EXPECT_EQ(candidates[5].refusal, "");
  EXPECT_EQ(candidates[6].isa, Isa::scalar);
  EXPECT_EQ(candidates[6].refusal, "");
}

TEST(IsaCandidates, OfAnArmProcessor) {
  const std::vector<IsaCandidate> candidates = isa_candidates(dotprod_machine());
  ASSERT_EQ(candidates.size(), static_cast<size_t>(kIsas));
  EXPECT_EQ(candidates[0].refusal, "the processor lacks i8mm");
  EXPECT_EQ(candidates[1].refusal, "");
  EXPECT_EQ(candidates[2].refusal, "");
  EXPECT_EQ(candidates[5].refusal, "the processor lacks avx2, fma, f16c");
  EXPECT_EQ(candidates[6].refusal, "");
}

TEST(IsaCandidates, NameTheSystemWhereTheProcessorHasAll) {
  CpuFeatures features = avx2_machine();
  features.flags = {"avx2",     "fma",         "f16c",     "avx512f",  "avx512bw", "avx512dq",
                    "avx512vl", "avx512_vnni", "amx_tile", "amx_int8", "amx_bf16"};
  features.best = Isa::avx512;
  features.tile_refusal = "Operation not permitted";
  const std::vector<IsaCandidate> candidates = isa_candidates(features);
  const auto amx = std::ranges::find(candidates, Isa::amx, &IsaCandidate::isa);
  ASSERT_NE(amx, candidates.end());
  EXPECT_EQ(amx->refusal, "the operating system refuses AMX tiles: Operation not permitted");
}

TEST(ChooseIsa, TakesTheBestOrTheOneAskedFor) {
  EXPECT_EQ(choose_isa("", "isa", avx2_machine()).value(), Isa::avx2);
  EXPECT_EQ(choose_isa("scalar", "isa", avx2_machine()).value(), Isa::scalar);
  EXPECT_EQ(choose_isa("AVX2", "isa", avx2_machine()).value(), Isa::avx2);
  EXPECT_EQ(choose_isa("", "isa", dotprod_machine()).value(), Isa::dotprod);
  EXPECT_EQ(choose_isa("neon", "isa", dotprod_machine()).value(), Isa::neon);
}

TEST(ChooseIsa, RefusesWithTheListOfWhatThereIs) {
  const auto missing = choose_isa("avx512", "DUNLIN_ISA", avx2_machine());
  ASSERT_FALSE(missing.ok());
  EXPECT_EQ(missing.error().kind, ErrorKind::device);
  EXPECT_EQ(missing.error().message,
            "DUNLIN_ISA: avx512 is not available: the processor lacks avx512dq, avx512vl, "
            "avx512_vnni; this machine has avx2, scalar");
  const auto unknown = choose_isa("altivec", "isa", avx2_machine());
  ASSERT_FALSE(unknown.ok());
  EXPECT_EQ(unknown.error().kind, ErrorKind::usage);
  EXPECT_EQ(unknown.error().message,
            "isa: \"altivec\" is no instruction set; this machine has avx2, scalar");
  const auto foreign = choose_isa("avx2", "DUNLIN_ISA", dotprod_machine());
  ASSERT_FALSE(foreign.ok());
  EXPECT_EQ(foreign.error().kind, ErrorKind::device);
  EXPECT_EQ(foreign.error().message,
            "DUNLIN_ISA: avx2 is not available: the processor lacks avx2, fma, f16c; this machine "
            "has dotprod, neon, scalar");
}

TEST(SelectIsa, ReadsTheEnvironmentUnlessTheOptionSaysOtherwise) {
  SavedEnvironment environment;
  environment.set("DUNLIN_ISA", "scalar");
  EXPECT_EQ(select_isa("").value(), Isa::scalar);
  environment.set("DUNLIN_ISA", "mmx");
  EXPECT_THAT(select_isa("").error().message, HasSubstr("DUNLIN_ISA: \"mmx\""));
  EXPECT_EQ(select_isa("scalar").value(), Isa::scalar);
  environment.unset("DUNLIN_ISA");
  EXPECT_EQ(select_isa("").value(), cpu_features().best);
}

TEST(Executable, ReportsWhatItChose) {
  const auto backend = make_cpu_backend();
  TinySession session(*backend, tiny_model("llama", "mixed"),
                      tiny_options(Precision::automatic, 2, "scalar"));
  const Executable& executable = session.executable();
  EXPECT_EQ(executable.isa(), "scalar");
  EXPECT_EQ(executable.threads(), 2);
  EXPECT_GT(executable.weights_bytes(), 0u);
  EXPECT_GT(executable.workspace_bytes(), 0u);
  const auto kernels = executable.kernels();
  using Pair = std::pair<std::string, std::string>;
  EXPECT_THAT(kernels, testing::Contains(Pair("linear+shared_input+input_norm q4_min generated",
                                              "linear_int8_q4_min_scalar")));
  EXPECT_THAT(kernels,
              testing::Contains(Pair("linear+residual_add q6 prompt", "linear_bf16_q6_scalar")));
  EXPECT_THAT(kernels, testing::Contains(Pair("embed", "decode_row_q6_scalar")));
  for (const auto& [operation, kernel] : kernels) {
    EXPECT_THAT(kernel, testing::Not(HasSubstr("reference"))) << operation;
  }
}

}  // namespace
}  // namespace dunlin::cpu
