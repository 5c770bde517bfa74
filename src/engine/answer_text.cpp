#include "engine/answer_text.h"

#include <utility>

namespace dunlin {

AnswerText::AnswerText(const TextModel& text, std::span<const int32_t> prompt,
                       std::vector<std::string> stops)
    : decoder_(text.tokenizer, /*skip_special=*/true), stops_(std::move(stops)) {
  if (!text.harmony.has_value()) return;
  parser_.emplace(text.tokenizer, *text.harmony);
  if (!parser_->resume(prompt)) {
    parser_.reset();
  } else if (const harmony::Header* const open = parser_->open_message()) {
    header_ = *open;
  }
}

bool AnswerText::feed(int32_t token, Event& event) {
  return parser_ ? add(parser_->feed(token), event) : add_answer(decoder_.feed(token), event);
}

void AnswerText::finish(Event& event) {
  if (parser_) {
    add(parser_->finish(), event);
  } else {
    add_answer(decoder_.flush(), event);
  }
  event.text += stops_.flush();
}

bool AnswerText::add(const std::vector<harmony::ParseEvent>& parsed, Event& event) {
  bool stopped = false;
  for (const harmony::ParseEvent& each : parsed) {
    if (each.kind == harmony::ParseEvent::Kind::begin) {
      header_ = each.header;
      if (is_answer(header_)) continue;
      begin_beside(/*begins=*/true, event);
    } else if (each.kind == harmony::ParseEvent::Kind::content) {
      if (is_answer(header_)) {
        stopped = add_answer(each.text, event) || stopped;
      } else {
        add_beside(each.text, event);
      }
    } else if (each.kind == harmony::ParseEvent::Kind::end && is_answer(header_)) {
      event.text += stops_.flush();  // no stop string goes across messages
    }
  }
  return stopped;
}

bool AnswerText::add_answer(const std::string& text, Event& event) {
  StopMatcher::Output output = stops_.feed(text);
  event.text += output.text;
  return output.stopped;
}

void AnswerText::add_beside(const std::string& text, Event& event) const {
  if (event.channels.empty()) begin_beside(/*begins=*/false, event);
  event.channels.back().text += text;
}

// Only the assistant calls tools: a model may write what it imagines of others, too.
void AnswerText::begin_beside(bool begins, Event& event) const {
  const bool call = header_.role == harmony::Role::assistant;
  event.channels.push_back({.channel = header_.channel,
                            .recipient = call ? header_.recipient : std::string(),
                            .begins = begins});
}

}  // namespace dunlin
