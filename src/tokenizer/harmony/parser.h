// Parser: the messages in a stream of token ids, as a model of Harmony generates them.
//
// Where openai-harmony's strict parser takes a stream, this finds the same messages, but for
// <|start|>, which begins a message wherever it stands, and <|endoftext|>, which ends all. What that
// parser refuses is read as well as can be: nothing is an error, and no text is lost but blanks
// between messages, what a header has too much and a header that the end of the stream cuts short. A
// message whose header lacks <|message|> has what follows the header's words as its content. Special
// tokens within a content that mean nothing there are text.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "tokenizer/harmony/header_reader.h"
#include "tokenizer/harmony/marks.h"
#include "tokenizer/harmony/message.h"
#include "tokenizer/stream_decoder.h"

namespace dunlin::harmony {

struct ParseEvent {
  enum class Kind : uint8_t {
    begin,    // of a message
    content,  // a piece of its text
    end,      // of the message
    stop,     // the answer is over: <|return|>, <|call|> or <|endoftext|>
  } kind;
  Header header = {};     // of kind begin
  std::string text = {};  // of kind content: complete UTF-8, what is invalid as U+FFFD
};

class Parser {
 public:
  // The longest header in bytes. One that is longer is none, and its text is content: a model that
  // does not write Harmony is heard, too.
  static constexpr size_t kMostHeaderBytes = 512;

  Parser(std::shared_ptr<const Tokenizer> tokenizer, const Marks& marks);

  // Before the first feed(): takes the state in which a prompt leaves the model, usually within the
  // assistant's header. False, and nothing happens, when the prompt has no <|start|>: it is no
  // conversation, and what follows it is no message.
  bool resume(std::span<const int32_t> prompt);

  // What becomes certain with the token. The parser holds no more than a header and the beginning of a
  // character.
  std::vector<ParseEvent> feed(int32_t id);
  // The stream is over: ends the message that is open. Of a header that began with <|start|> and is
  // cut short nothing becomes text.
  std::vector<ParseEvent> finish();

  // Of the message whose content comes; null between messages.
  const Header* open_message() const { return state_ == State::content ? &header_ : nullptr; }

 private:
  enum class State : uint8_t { between, header, content };
  using Events = std::vector<ParseEvent>;

  void begin_header(bool started);
  void take_mark_of_header(int32_t id, Events& events);
  void take_text(int32_t id, Events& events);
  void open(Header header, Events& events);
  void add_content(std::string text, Events& events);
  void close(Events& events);
  void flush_header_text() { reader_.add_text(decoder_.flush()); }

  std::shared_ptr<const Tokenizer> tokenizer_;
  Marks marks_;
  StreamDecoder decoder_;
  State state_ = State::between;
  HeaderReader reader_ = {};
  Header header_ = {};
};

}  // namespace dunlin::harmony
