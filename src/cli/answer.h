// An answer as the engine's events bring it, and how it is printed.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "engine/engine.h"

namespace dunlin {

struct Answer {
  std::vector<int32_t> prompt_ids = {};
  std::vector<int32_t> ids = {};  // generated, without the stop token
  std::string text = {};
  bool done = false;
  FinishReason reason = FinishReason::stop;
  RequestStats stats = {};
  uint64_t seed = 0;  // of its random numbers
  std::optional<Error> error = std::nullopt;

  void receive(const Event& event);
};

// The object of `run --json`.
nlohmann::ordered_json answer_json(const Answer& answer, const Model& model);

// One line of JSON; bytes of text that are not UTF-8 become U+FFFD.
std::string json_line(const nlohmann::ordered_json& value);

// "prompt   12 tokens (8 cached) in 34 ms (117.6 per second)\nanswer ...\n"
std::string timings_text(const RequestStats& stats);

}  // namespace dunlin
