#include "tokenizer/harmony/parser.h"

#include <algorithm>
#include <utility>

namespace dunlin::harmony {

Parser::Parser(std::shared_ptr<const Tokenizer> tokenizer, const Marks& marks)
    : tokenizer_(std::move(tokenizer)),
      marks_(marks),
      decoder_(tokenizer_, /*skip_special=*/false) {}

bool Parser::resume(std::span<const int32_t> prompt) {
  const auto last = std::find(prompt.rbegin(), prompt.rend(), marks_.start);
  if (last == prompt.rend()) return false;
  const auto begin = static_cast<size_t>(prompt.rend() - last) - 1;
  for (const int32_t id : prompt.subspan(begin)) feed(id);
  if (state_ == State::header) {
    flush_header_text();
    reader_.settle();
  }
  return true;
}

std::vector<ParseEvent> Parser::feed(int32_t id) {
  Events events;
  if (id == marks_.start) {
    close(events);
    begin_header(/*started=*/true);
  } else if (id == marks_.end || marks_.stops(id)) {
    close(events);
    if (id != marks_.end) events.push_back({.kind = ParseEvent::Kind::stop});
  } else if (state_ == State::content) {
    add_content(decoder_.feed(id), events);
  } else {
    if (state_ == State::between) begin_header(/*started=*/false);
    if (id == marks_.channel || id == marks_.constrain || id == marks_.message) {
      take_mark_of_header(id, events);
    } else {
      take_text(id, events);
    }
  }
  return events;
}

std::vector<ParseEvent> Parser::finish() {
  Events events;
  if (state_ == State::header) {
    flush_header_text();
    if (reader_.is_cut_short()) state_ = State::between;
  }
  close(events);
  return events;
}

void Parser::begin_header(bool started) {
  reader_.begin(started);
  state_ = State::header;
}

void Parser::take_mark_of_header(int32_t id, Events& events) {
  flush_header_text();
  if (std::string stray = reader_.take_stray_text(); !stray.empty()) {
    open(Header(), events);
    add_content(std::move(stray), events);
    close(events);
    state_ = State::header;
  }
  if (id == marks_.channel) {
    reader_.begin_channel();
  } else if (id == marks_.constrain) {
    reader_.begin_constrain();
  } else {
    open(reader_.complete(), events);
  }
}

// Within a header, which a special token without a meaning there does not change.
void Parser::take_text(int32_t id, Events& events) {
  if (tokenizer_->is_special(id)) return;
  reader_.add_text(decoder_.feed(id));
  if (reader_.size() <= kMostHeaderBytes) return;
  HeaderReader::Remains remains = reader_.remains();
  open(std::move(remains.header), events);
  add_content(std::move(remains.content), events);
}

void Parser::open(Header header, Events& events) {
  header_ = std::move(header);
  state_ = State::content;
  events.push_back({.kind = ParseEvent::Kind::begin, .header = header_});
}

void Parser::add_content(std::string text, Events& events) {
  if (!text.empty()) events.push_back({.kind = ParseEvent::Kind::content, .text = std::move(text)});
}

// Ends the open message, or makes one of a header that has no end.
void Parser::close(Events& events) {
  if (state_ == State::header) {
    flush_header_text();
    HeaderReader::Remains remains = reader_.remains();
    state_ = State::between;
    if (remains.content.empty()) return;
    open(std::move(remains.header), events);
    add_content(std::move(remains.content), events);
  }
  if (state_ == State::between) return;
  add_content(decoder_.flush(), events);
  events.push_back({.kind = ParseEvent::Kind::end});
  state_ = State::between;
}

}  // namespace dunlin::harmony
