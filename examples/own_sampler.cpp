// A sampler of one's own, several requests at a time, and token ids instead of text:
//   own_sampler MODEL 1,2,3 4,5
// Each prompt is continued by "mirostat" (Basu et al. 2020, algorithm 2): among the tokens whose
// surprise is below a bound one is drawn, and the bound moves so that the surprise stays near a target.
#include <dunlin/engine.h>

#include <cmath>
#include <iostream>
#include <sstream>

constexpr float kTarget = 3.0f;  // bits per token
constexpr float kRate = 0.1f;

// One for each request: it remembers the bound.
dunlin::CustomSampler mirostat() {
  return
      [bound = 2 * kTarget](const dunlin::SamplerInput& input) mutable -> std::optional<int32_t> {
        const auto surprise = [&](size_t i) {
          return (input.log_sum_exp - input.logits[i]) / std::log(2.0f);
        };
        size_t count = 1;
        while (count < input.ids.size() && surprise(count) < bound) ++count;
        float sum = 0;
        for (size_t i = 0; i < count; ++i) sum += std::exp2(-surprise(i));
        float left = input.uniform * sum;
        size_t chosen = 0;
        while (chosen + 1 < count && (left -= std::exp2(-surprise(chosen))) >= 0) ++chosen;
        bound -= kRate * (surprise(chosen) - kTarget);
        return input.ids[chosen];
      };
}

std::vector<int32_t> parse_ids(const std::string& text) {
  std::vector<int32_t> ids;
  std::istringstream stream(text);
  for (std::string id; std::getline(stream, id, ',');) ids.push_back(std::stoi(id));
  return ids;
}

int main(int argc, char** argv) {
  if (argc < 3) {
    std::cerr << "usage: own_sampler MODEL IDS...\n";
    return 2;
  }
  auto engine = dunlin::Engine::load(argv[1], {.context = 256, .sequences = argc - 2});
  if (!engine.ok()) {
    std::cerr << "error: " << engine.error().message << "\n";
    return 1;
  }
  std::vector<std::string> answers(static_cast<size_t>(argc));
  for (int i = 2; i < argc; ++i) {
    std::string& answer = answers[static_cast<size_t>(i)];
    const auto request = engine->submit(
        {.prompt = parse_ids(argv[i]), .custom_sampler = mirostat(), .max_tokens = 16},
        [&answer](const dunlin::Event& event) {
          if (event.token) answer += std::to_string(*event.token) + ",";
        });
    if (!request.ok()) std::cerr << argv[i] << ": " << request.error().message << "\n";
  }
  engine->run_until_idle();
  for (int i = 2; i < argc; ++i)
    std::cout << argv[i] << " | " << answers[static_cast<size_t>(i)] << "\n";
}
