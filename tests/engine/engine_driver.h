// A model of tests/data with an engine over it, and answers collected from its events.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/engine.h"

namespace dunlin {

struct Answer {
  std::vector<int32_t> ids = {};
  std::string text = {};
  std::optional<FinishReason> reason = {};  // once finished
  RequestStats stats = {};
  std::optional<Error> error = {};  // when failed
  int events = 0;                   // after the request was finished or had failed: none come
};

class EngineDriver {
 public:
  // `model` is a name below tests/data, or a path.
  explicit EngineDriver(const std::string& model, const ModelOptions& options = {});
  explicit EngineDriver(std::unique_ptr<Model> model);

  std::shared_ptr<Answer> submit(Request request);  // must be accepted
  Answer answer(Request request);                   // submit, and steps until nothing is left

  Engine& engine() { return engine_; }
  Model& model() { return *model_; }
  RequestId last_id() const { return last_id_; }

 private:
  std::unique_ptr<Model> model_;
  Engine engine_;
  RequestId last_id_ = 0;
};

std::string tiny_model_path(const std::string& model);
std::vector<int32_t> golden_ids(const std::string& model, const std::string& name);

// A prompt of `size` ids below 128 that depends on `seed`.
std::vector<int32_t> random_prompt(size_t size, uint32_t seed);

Request greedy(std::vector<int32_t> prompt, int64_t max_tokens);
// Temperature 1 and a seed, with every filter off: any id may come.
Request sampled(std::vector<int32_t> prompt, int64_t max_tokens, uint64_t seed);

}  // namespace dunlin
