// Whole models on the CPU back end: the bits of the reference, whatever the threads, the chunks of
// the prompt, the other sequences of a batch and the taps that keep nodes apart.
#include <gtest/gtest.h>

#include <bit>
#include <tuple>

#include "backend/cpu/cpu_backend.h"
#include "backend/cpu/isa.h"
#include "backend/reference/reference.h"
#include "tiny_model.h"

namespace dunlin {
namespace {

using Logits = std::vector<std::vector<float>>;

// Rows and elements where two runs differ in a bit; empty when they agree.
std::string difference(const Logits& actual, const Logits& expected) {
  if (actual.size() != expected.size()) return "the numbers of rows differ";
  for (size_t row = 0; row < actual.size(); ++row) {
    for (size_t i = 0; i < expected[row].size(); ++i) {
      const float a = actual[row][i];
      const float b = expected[row][i];
      if (std::bit_cast<uint32_t>(a) == std::bit_cast<uint32_t>(b)) continue;
      return "row " + std::to_string(row) + ", logit " + std::to_string(i) + ": " +
             std::to_string(a) + ", expected " + std::to_string(b);
    }
  }
  return "";
}

constexpr int32_t kPrompt = 37;
constexpr int32_t kDecodes = 20;
constexpr int kManyThreads = 64;  // more than most machines have

Logits run_on(Backend& backend, const TinyModel& model, const CompileOptions& options,
              int32_t chunk = kPrompt) {
  TinySession session(backend, model, options);
  return prompt_and_decode(session, 0, kPrompt, chunk, kDecodes);
}

class TinyModels : public testing::TestWithParam<std::tuple<std::string, std::string>> {
 protected:
  TinyModel model() const { return tiny_model(std::get<0>(GetParam()), std::get<1>(GetParam())); }
};

TEST_P(TinyModels, HaveTheBitsOfTheReferenceInEveryProfile) {
  const auto cpu = make_cpu_backend();
  const auto reference = make_reference_backend();
  const TinyModel model = this->model();
  for (const Precision precision :
       {Precision::automatic, Precision::exact, Precision::int8, Precision::fast, Precision::f32}) {
    const Logits expected = run_on(*reference, model, tiny_options(precision));
    for (const cpu::IsaCandidate& candidate : cpu::isa_candidates(cpu_features())) {
      if (!candidate.refusal.empty()) continue;
      const std::string isa = isa_name(candidate.isa);
      EXPECT_EQ(difference(run_on(*cpu, model, tiny_options(precision, 1, isa)), expected), "")
          << precision_name(precision) << ", " << isa;
    }
  }
}

CompileOptions with_int8_cache(CompileOptions options) {
  options.kv_type = KvType::int8;
  return options;
}

TEST_P(TinyModels, HaveTheBitsOfTheReferenceWithACacheInInt8) {
  const auto cpu = make_cpu_backend();
  const auto reference = make_reference_backend();
  const TinyModel model = this->model();
  const auto options = [](int threads, const std::string& isa) {
    return with_int8_cache(tiny_options(Precision::automatic, threads, isa));
  };
  const Logits expected = run_on(*reference, model, options(1, ""));
  const Logits of_bf16 = run_on(*cpu, model, tiny_options(Precision::automatic));
  EXPECT_NE(difference(of_bf16, expected), "");
  for (const cpu::IsaCandidate& candidate : cpu::isa_candidates(cpu_features())) {
    if (!candidate.refusal.empty()) continue;
    const std::string isa = isa_name(candidate.isa);
    EXPECT_EQ(difference(run_on(*cpu, model, options(1, isa)), expected), "") << isa;
    EXPECT_EQ(difference(run_on(*cpu, model, options(3, isa), 16), expected), "")
        << isa << ", three threads, in chunks";
  }
}

TEST_P(TinyModels, DoNotDependOnThreads) {
  const auto cpu = make_cpu_backend();
  const TinyModel model = this->model();
  const Logits expected = run_on(*cpu, model, tiny_options(Precision::automatic, 1));
  for (const int threads : {2, 4}) {
    EXPECT_EQ(
        difference(run_on(*cpu, model, tiny_options(Precision::automatic, threads)), expected), "")
        << threads << " threads";
  }
}

TEST_P(TinyModels, DoNotDependOnTheChunksOfThePrompt) {
  const auto cpu = make_cpu_backend();
  const TinyModel model = this->model();
  const CompileOptions options = tiny_options(Precision::automatic, 2);
  const Logits expected = run_on(*cpu, model, options);
  for (const int32_t chunk : {1, 5, 16}) {
    EXPECT_EQ(difference(run_on(*cpu, model, options, chunk), expected), "") << chunk;
  }
}

INSTANTIATE_TEST_SUITE_P(All, TinyModels,
                         testing::Values(std::tuple("llama", "BF16"), std::tuple("llama", "F16"),
                                         std::tuple("llama", "Q8_0"), std::tuple("llama", "mixed"),
                                         std::tuple("qwen2", "F32"), std::tuple("qwen2", "Q4_0"),
                                         std::tuple("qwen2", "Q4_1"), std::tuple("qwen2", "mixed"),
                                         std::tuple("gpt_oss", "MXFP4"),
                                         std::tuple("gpt_oss", "BF16"),
                                         std::tuple("gpt_oss", "mixed")),
                         [](const auto& info) {
                           return std::get<0>(info.param) + "_" + std::get<1>(info.param);
                         });

struct BatchModel {
  const char* family;
  const char* format;
};
constexpr BatchModel kBatchModels[] = {
    {"llama", "mixed"}, {"qwen2", "mixed"}, {"gpt_oss", "MXFP4"}, {"gpt_oss", "mixed"}};

// They wait for each other in every loop, and most find nothing left to do. Two steps of each model: on two
// cores every loop wakes them all and lays them to sleep again.
TEST(ManyThreads, HaveTheBitsOfOne) {
  const auto cpu = make_cpu_backend();
  const std::vector<Chunk> chunks{
      {0, 17, RowClass::prompt}, {1, 1, RowClass::generated}, {2, 3, RowClass::generated}};
  for (const auto& [family, format] : kBatchModels) {
    const TinyModel model = tiny_model(family, format);
    TinySession alone(*cpu, model, tiny_options(Precision::automatic, 1));
    TinySession crowded(*cpu, model, tiny_options(Precision::automatic, kManyThreads));
    for (int i = 0; i < 2; ++i) {
      const Logits expected = alone.step(chunks);
      EXPECT_EQ(difference(crowded.step(chunks), expected), "") << family << ' ' << format;
    }
  }
}

// A decoding sequence, another that decodes two drafts, and a prompt in one step: each as alone.
TEST(Batch, OtherSequencesChangeNothing) {
  const auto cpu = make_cpu_backend();
  const CompileOptions plain = tiny_options(Precision::automatic, 2);
  for (const CompileOptions& options : {plain, with_int8_cache(plain)}) {
    for (const auto& [family, format] : kBatchModels) {
      const TinyModel model = tiny_model(family, format);
      TinySession alone(*cpu, model, options);
      const Logits expected = prompt_and_decode(alone, 0, kPrompt, kPrompt, kDecodes);
      TinySession session(*cpu, model, options);
      session.step({{0, kPrompt, RowClass::prompt}, {1, 70, RowClass::prompt}});
      Logits logits;
      for (int32_t i = 0; i < kDecodes; ++i) {
        const Logits rows = session.step(
            {{0, 1, RowClass::generated}, {1, 3, RowClass::generated}, {2, 9, RowClass::prompt}});
        logits.push_back(rows.front());
      }
      EXPECT_EQ(difference(logits, Logits(expected.begin() + 1, expected.end())), "")
          << family << ' ' << format;
    }
  }
}

// Prompt rows between generated ones: more runs of one class than a plan of the scheduler has.
TEST(Batch, ClassesMayAlternate) {
  const auto cpu = make_cpu_backend();
  const auto reference = make_reference_backend();
  const std::vector<Chunk> chunks{{0, 2, RowClass::prompt},  {1, 1, RowClass::generated},
                                  {2, 17, RowClass::prompt}, {3, 3, RowClass::generated},
                                  {4, 33, RowClass::prompt}, {5, 1, RowClass::generated},
                                  {6, 1, RowClass::prompt},  {7, 20, RowClass::generated}};
  for (const auto& [family, format] : kBatchModels) {
    const TinyModel model = tiny_model(family, format);
    TinySession expected(*reference, model, tiny_options(Precision::automatic));
    TinySession actual(*cpu, model, tiny_options(Precision::automatic, 2));
    for (int i = 0; i < 3; ++i) {
      EXPECT_EQ(difference(actual.step(chunks), expected.step(chunks)), "")
          << family << ' ' << format;
    }
  }
}

// Past 512 positions decodes are cut into splits over the threads.
TEST(Attention, SplitsOfALongContextHaveTheBitsOfOnePiece) {
  const auto cpu = make_cpu_backend();
  const TinyModel model = tiny_model("llama", "BF16");
  for (const KvType type : {KvType::bf16, KvType::int8}) {
    Logits expected;
    for (const int threads : {1, 2, 4, kManyThreads}) {
      CompileOptions options = tiny_options(Precision::automatic, threads);
      options.kv_type = type;
      TinySession session(*cpu, model, options);
      prompt_and_decode(session, 0, 500, 500, 0);
      const int32_t decodes = threads < kManyThreads ? 20 : 3;
      const Logits logits = prompt_and_decode(session, 0, 400, 400, decodes);
      if (expected.empty()) expected = logits;
      ASSERT_LE(logits.size(), expected.size());
      expected.resize(logits.size());
      EXPECT_EQ(difference(logits, expected), "") << kv_type_name(type) << ", " << threads;
    }
  }
}

TEST(Taps, ChangeNothing) {
  const auto cpu = make_cpu_backend();
  const CompileOptions options = tiny_options(Precision::automatic, 2);
  const Logits expected = run_on(*cpu, tiny_model("qwen2", "mixed"), options);
  const TinyModel tapped = tiny_model("qwen2", "mixed", {.taps = {"*"}});
  EXPECT_EQ(difference(run_on(*cpu, tapped, options), expected), "");
}

TEST(Taps, HaveTheBitsOfTheReference) {
  const auto cpu = make_cpu_backend();
  const auto reference = make_reference_backend();
  const TinyModel tapped = tiny_model("llama", "mixed", {.taps = {"*"}, .logits_view_k = 7});
  TinySession expected(*reference, tapped, tiny_options(Precision::automatic));
  TinySession actual(*cpu, tapped, tiny_options(Precision::automatic, 2));
  const std::vector<Chunk> chunks{{0, 3, RowClass::generated}, {1, 21, RowClass::prompt}};
  EXPECT_EQ(difference(actual.step(chunks), expected.step(chunks)), "");
  ASSERT_EQ(actual.output().taps.size(), expected.output().taps.size());
  for (size_t i = 0; i < actual.output().taps.size(); ++i) {
    const TapView& tap = actual.output().taps[i];
    const TapView& wanted = expected.output().taps[i];
    ASSERT_EQ(tap.name, wanted.name);
    ASSERT_EQ(tap.view.shape, wanted.view.shape);
    const auto count = static_cast<size_t>(element_count(tap.view.shape));
    const Logits values{{tap.view.f32(), tap.view.f32() + count}};
    const Logits wanted_values{{wanted.view.f32(), wanted.view.f32() + count}};
    EXPECT_EQ(difference(values, wanted_values), "") << tap.name;
  }
  for (size_t r = 0; r < actual.output().logits.size(); ++r) {
    const LogitsView& view = actual.output().logits[r];
    const LogitsView& wanted = expected.output().logits[r];
    EXPECT_EQ(view.lse, wanted.lse);
    EXPECT_EQ(view.varentropy, wanted.varentropy);
    EXPECT_TRUE(std::ranges::equal(view.ids, wanted.ids));
    EXPECT_TRUE(std::ranges::equal(view.logits, wanted.logits));
  }
}

}  // namespace
}  // namespace dunlin
