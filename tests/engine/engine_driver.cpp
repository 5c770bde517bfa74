#include "engine_driver.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "parity/array_file.h"

namespace dunlin {

namespace {

std::unique_ptr<Model> load(const std::string& model, const ModelOptions& options) {
  const bool is_path = model.find('/') != std::string::npos;
  return load_model(is_path ? model : tiny_model_path(model), options).value();
}

}  // namespace

EngineDriver::EngineDriver(const std::string& model, const ModelOptions& options)
    : EngineDriver(load(model, options)) {}

EngineDriver::EngineDriver(std::unique_ptr<Model> model)
    : model_(std::move(model)), engine_(make_engine(*model_).value()) {}

std::shared_ptr<Answer> EngineDriver::submit(Request request) {
  auto answer = std::make_shared<Answer>();
  const auto id = engine_.submit(std::move(request), [answer](const Event& event) {
    if (answer->reason || answer->error) ++answer->events;
    answer->text += event.text;
    if (event.token) answer->ids.push_back(*event.token);
    if (event.kind == Event::Kind::failed) answer->error = event.error;
    if (event.kind == Event::Kind::finished) {
      answer->reason = event.reason;
      answer->stats = event.stats;
    }
  });
  EXPECT_TRUE(id.ok()) << id.error().message;
  last_id_ = id.ok() ? *id : 0;
  return answer;
}

Answer EngineDriver::answer(Request request) {
  const auto answer = submit(std::move(request));
  engine_.run_until_idle();
  EXPECT_TRUE(answer->reason || answer->error);
  EXPECT_EQ(answer->events, 0);
  return *answer;
}

std::string tiny_model_path(const std::string& model) {
  return std::string(DUNLIN_SOURCE_DIR) + "/tests/data/" + model + "/model";
}

std::vector<int32_t> golden_ids(const std::string& model, const std::string& name) {
  const std::string path =
      std::string(DUNLIN_SOURCE_DIR) + "/tests/data/" + model + "/golden.safetensors";
  return ArrayFile::open(path).value().read(name).value().integers;
}

std::vector<int32_t> random_prompt(size_t size, uint32_t seed) {
  std::vector<int32_t> prompt;
  uint32_t state = seed * 2654435761u + 1;
  for (size_t i = 0; i < size; ++i) {
    state = state * 1664525u + 1013904223u;
    prompt.push_back(static_cast<int32_t>(state >> 25));
  }
  return prompt;
}

Request greedy(std::vector<int32_t> prompt, int64_t max_tokens) {
  return {.prompt = std::move(prompt),
          .sampling = {.temperature = 0},
          .max_tokens = max_tokens,
          .ignore_eos = true};
}

Request sampled(std::vector<int32_t> prompt, int64_t max_tokens, uint64_t seed) {
  Request request = greedy(std::move(prompt), max_tokens);
  request.sampling = {.temperature = 1, .top_k = 0, .top_p = 1, .min_p = 0, .seed = seed};
  return request;
}

}  // namespace dunlin
