// Greedy ids against llama.cpp's (data/llama_cpp_greedy.json, made by
// tools/make_llama_cpp_goldens.py) for five chat and five plain prompts.
//
// Two engines that round differently agree wherever the choice between the two best logits is no
// matter of rounding. What rounding does is measured here, on the same tokens: the model is fed with
// llama.cpp's ids once under `auto` and once under `f32`, and the noise of a prompt is the largest
// |auto - f32| of any logit over its steps. The comparison of a prompt ends at the first step where
// the gap between llama.cpp's two best logits is below the noise; before it every id must be equal.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "engine/engine.h"
#include "parity/array_file.h"
#include "parity/parity.h"
#include "smollm2.h"

namespace dunlin {
namespace {

using Json = nlohmann::ordered_json;
using Ids = std::vector<int32_t>;

class SmolLm2LlamaCpp : public SmolLm2 {
 protected:
  void TearDown() override {
    std::filesystem::remove(reference_);
    std::filesystem::remove(dump_);
  }

  // Logits [steps][V] after the prompt and after each of `ids` but the last, in one row.
  std::vector<float> forced_logits(const Ids& prompt, const Ids& ids, Precision precision) {
    std::map<std::string, Array> arrays;
    for (const auto& [name, values] : {std::pair("input_ids", prompt), {"greedy_ids", ids}}) {
      arrays[name] = {.dtype = DType::i32,
                      .shape = {static_cast<int64_t>(values.size())},
                      .floats = {},
                      .integers = values};
    }
    write_array_file(reference_, arrays).value();
    const auto report =
        compare_with_reference(smollm2_path(), reference_, {.precision = precision, .dump = dump_});
    EXPECT_TRUE(report.ok()) << report.error().message;
    return ArrayFile::open(dump_).value().read("greedy_logits").value().floats;
  }

  float noise(const Ids& prompt, const Ids& ids) {
    const auto rounded = forced_logits(prompt, ids, Precision::automatic);
    const auto exact = forced_logits(prompt, ids, Precision::f32);
    float largest = 0;
    for (size_t i = 0; i < exact.size(); ++i)
      largest = std::max(largest, std::abs(rounded[i] - exact[i]));
    return largest;
  }

  const std::string reference_ = testing::TempDir() + "smollm2_forced.safetensors";
  const std::string dump_ = testing::TempDir() + "smollm2_dump.safetensors";
};

Ids encode_prompt(const Json& test) {
  const TextModel& text = smollm2_text();
  return test.contains("messages") ? text.encode_chat(test["messages"]).value()
                                   : text.encode_raw(test["text"].get<std::string>()).value();
}

Ids greedy_ids(Engine& engine, const Ids& prompt, size_t count) {
  Ids ids;
  const Request request{.prompt = prompt,
                        .sampling = {.temperature = 0},
                        .max_tokens = static_cast<int64_t>(count),
                        .ignore_eos = true};
  const auto id = engine.submit(request, [&ids](const Event& event) {
    if (event.token) ids.push_back(*event.token);
  });
  EXPECT_TRUE(id.ok());
  engine.run_until_idle();
  return ids;
}

TEST_F(SmolLm2LlamaCpp, GreedyIdsAgreeUpToTheNoise) {
  const Json golden = read_json("smollm2/data/llama_cpp_greedy.json");
  ASSERT_EQ(golden["cases"].size(), 10u);
  const auto model = load_model(smollm2_path(), {.context = 512}).value();
  const auto engine = Engine::create(*model).value();
  size_t decided = 0;
  size_t agreed = 0;
  for (size_t i = 0; i < golden["cases"].size(); ++i) {
    const Json& test = golden["cases"][i];
    const Ids prompt = encode_prompt(test);
    EXPECT_EQ(prompt, test["prompt_ids"].get<Ids>()) << "prompt " << i;
    const auto wanted = test["greedy_ids"].get<Ids>();
    const auto gaps = test["gaps"].get<std::vector<float>>();
    ASSERT_EQ(wanted.size(), 32u);
    const float prompt_noise = noise(prompt, wanted);
    const auto near_tie = static_cast<size_t>(
        std::ranges::find_if(gaps, [=](float gap) { return gap < prompt_noise; }) - gaps.begin());
    const Ids ids = greedy_ids(*engine, prompt, wanted.size());
    const auto differs = static_cast<size_t>(std::ranges::mismatch(ids, wanted).in1 - ids.begin());
    EXPECT_GE(differs, near_tie) << "prompt " << i;
    fmt::print("prompt {}: noise {:.3f}, first gap below it at step {}, {}\n", i, prompt_noise,
               near_tie,
               differs == wanted.size()
                   ? "all 32 ids agree"
                   : fmt::format("first difference at step {} (gap {})", differs, gaps[differs]));
    decided += near_tie;
    agreed += differs;
  }
  fmt::print("{} steps before a near-tie, {} ids agree\n", decided, agreed);
}

}  // namespace
}  // namespace dunlin
