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

// A call of a tool, for which nobody is here.
struct ToolCall {
  std::string name = {};  // "functions.get_weather"
  std::string arguments = {};
};

struct Answer {
  bool show_reasoning = false;
  std::vector<int32_t> prompt_ids = {};
  std::vector<int32_t> ids = {};  // generated, without the stop token
  std::string text = {};
  std::string reasoning = {};  // thoughts, and what is said between calls of tools
  std::vector<ToolCall> calls = {};
  // What people see: the text; with show_reasoning everything, each message below its channel in
  // brackets.
  std::string shown = {};
  bool done = false;
  FinishReason reason = FinishReason::stop;
  RequestStats stats = {};
  uint64_t seed = 0;  // of its random numbers
  // Of a model that fills in masks; and a prompt that had some, once they are filled in.
  std::optional<int64_t> forward_passes = {};
  std::vector<int32_t> infilled_ids = {};
  std::string infilled_text = {};
  std::optional<Error> error = std::nullopt;

  void receive(const Event& event);

 private:
  void receive_beside(const ChannelText& piece);
  void show_heading(const std::string& heading);

  bool said_beside_ = false;    // a message that is not the answer has begun
  bool below_heading_ = false;  // of such a message
};

// The object of `run --json`.
nlohmann::ordered_json answer_json(const Answer& answer, const Model& model);

// "thinking 128 tokens", while the model says what is not shown and the answer has not begun;
// otherwise nothing.
std::string thinking_text(const Answer& answer);

// "note     the answer is empty: ...\n", where it is and what the model did instead is not shown;
// otherwise nothing.
std::string empty_answer_note(const Answer& answer);

// One line of JSON; bytes of text that are not UTF-8 become U+FFFD.
std::string json_line(const nlohmann::ordered_json& value);

// "programs 3 compiled, 12 loaded in 1.2 s\n"; nothing where no device has any.
std::string programs_text(const DevicePrograms& programs);

// "prompt   12 tokens (8 cached) in 34 ms (117.6 per second)\nanswer ...\n"
std::string timings_text(const RequestStats& stats);
// The same of a model that fills in masks: "answer   64 tokens in 980 ms (65.3 per second), 32 forward
// passes (2.00 tokens per forward)\n".
std::string timings_text(const Answer& answer);

}  // namespace dunlin
