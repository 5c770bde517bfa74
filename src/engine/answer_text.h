// AnswerText: what the tokens of an answer say, as the text of its events: complete UTF-8, up to the
// first stop string, and apart from what the model says on other channels.
#pragma once

#include <dunlin/request.h>

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/stop_matcher.h"
#include "engine/text_model.h"
#include "tokenizer/harmony/parser.h"
#include "tokenizer/stream_decoder.h"

namespace dunlin {

class AnswerText {
 public:
  // `text` has a tokenizer. The answer to a prompt in Harmony has messages, of which those on the
  // channel `final` are its text; any other answer is text as a whole. Stop strings end the answer
  // where they are in its text.
  AnswerText(const TextModel& text, std::span<const int32_t> prompt,
             std::vector<std::string> stops);

  // Adds to the event what becomes certain with the token. True: a stop string is there.
  bool feed(int32_t token, Event& event);
  // Adds what was held back.
  void finish(Event& event);

 private:
  bool add(const std::vector<harmony::ParseEvent>& parsed, Event& event);
  bool add_answer(const std::string& text, Event& event);
  void add_beside(const std::string& text, Event& event) const;
  void begin_beside(bool begins, Event& event) const;

  StreamDecoder decoder_;
  std::optional<harmony::Parser> parser_ = {};  // instead of the decoder
  harmony::Header header_ = {};                 // of the message whose text comes
  StopMatcher stops_;
};

}  // namespace dunlin
