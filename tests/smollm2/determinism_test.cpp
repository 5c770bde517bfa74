// Integer weights, 30 layers and a real vocabulary: the same ids alone and together, for 1, 2 and 4
// threads, any chunk and every instruction set, under the profile people run.
#include "base/cpu_features.h"
#include "engine/engine.h"
#include "smollm2.h"

namespace dunlin {
namespace {

using Ids = std::vector<int32_t>;

class SmolLm2Determinism : public SmolLm2 {};

std::vector<Request> requests(int64_t max_tokens) {
  const std::vector<std::string> texts = {"Once upon a time", "def main():\n",
                                          "The capital of France is", "1, 2, 3, 4, 5, 6, 7, 8, 9,"};
  std::vector<Request> list;
  for (size_t i = 0; i < texts.size(); ++i) {
    Request request{.prompt = smollm2_text().encode_raw(texts[i]).value(),
                    .max_tokens = max_tokens + static_cast<int64_t>(i),
                    .ignore_eos = true};
    request.sampling.temperature = i % 2 == 0 ? 0.9f : 0.0f;
    request.sampling.seed = i;
    list.push_back(std::move(request));
  }
  return list;
}

std::vector<Ids> answers(const ModelOptions& options, int64_t max_tokens = 12,
                         int64_t* preemptions = nullptr) {
  const auto model = load_model(smollm2_path(), options).value();
  Engine engine = make_engine(*model).value();
  const auto list = requests(max_tokens);
  std::vector<Ids> ids(list.size());
  for (size_t i = 0; i < list.size(); ++i) {
    const auto submitted = engine.submit(list[i], [&ids, i](const Event& event) {
      if (event.token) ids[i].push_back(*event.token);
    });
    EXPECT_TRUE(submitted.ok());
  }
  engine.run_until_idle();
  if (preemptions != nullptr) *preemptions = engine.stats().preemptions;
  return ids;
}

ModelOptions options(int threads, int64_t sequences, int64_t rows, const std::string& isa = "") {
  return {.threads = threads, .isa = isa, .context = 128, .sequences = sequences, .rows = rows};
}

TEST_F(SmolLm2Determinism, IdsDependOnTheRequestAlone) {
  const auto wanted = answers(options(1, 1, 512));
  for (const Ids& ids : wanted) EXPECT_GE(ids.size(), 12u);
  EXPECT_EQ(answers(options(2, 4, 512)), wanted) << "two threads, four at a time";
  EXPECT_EQ(answers(options(4, 2, 3)), wanted) << "four threads, chunks of three";
  for (const Isa isa : isas_up_to(cpu_features().best)) {
    if (isa == Isa::scalar) continue;  // slow
    const std::string name = isa_name(isa);
    EXPECT_EQ(answers(options(2, 4, 7, name)), wanted) << name;
  }
}

// Three of the requests begin in six pages of KV cache, and each grows to three or more. Generated
// rows that are computed again after a preemption keep their int8 arithmetic.
TEST_F(SmolLm2Determinism, IdsDoNotDependOnPreemptions) {
  ModelOptions crowded = options(2, 4, 512);
  crowded.context = 96;
  crowded.kv_tokens = 96;
  int64_t preemptions = 0;
  EXPECT_EQ(answers(crowded, 40, &preemptions), answers(options(2, 1, 512), 40));
  EXPECT_GT(preemptions, 0);
}

}  // namespace
}  // namespace dunlin
