// HeaderReader: collects the parts of a message's header as they come, and tells what they say.
//
// openai-harmony's reading of a complete header is the rule: where it takes one, this gives the same
// role, recipient, channel and type. What it refuses is read as well as can be.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "tokenizer/harmony/message.h"

namespace dunlin::harmony {

class HeaderReader {
 public:
  // A header begins. Without `started` no <|start|> was there, and what comes may be anything.
  void begin(bool started);

  void add_text(std::string_view text) { part_text_ += text; }
  void begin_channel();    // <|channel|>
  void begin_constrain();  // <|constrain|>

  // Bytes so far.
  size_t size() const { return words_.size() + part_text_.size(); }

  // What was read so far is settled: a prompt left it, and what follows was generated.
  void settle();

  // The header, where <|message|> ends it.
  Header complete();

  // Where it does not end: as much of a header as there is, and the text that belongs to none. White
  // space alone is no text.
  struct Remains {
    Header header;
    std::string content;
  };
  Remains remains();

  // Where the stream ends within it: whether all there is may be the beginning of a header behind
  // <|start|>, a role and a recipient or parts of them, so that nothing of it is text.
  bool is_cut_short() const;

  // The text before the first mark of a header that did not begin with <|start|> and names no role:
  // it belongs to no message. White space alone is no text.
  std::string take_stray_text();

 private:
  enum class Part : uint8_t { words, channel, type };

  void close_part();
  bool take_role(std::string_view word);

  bool started_ = false;
  bool role_is_known_ = false;
  Header header_ = {};
  Part part_ = Part::words;
  std::string part_text_ = {};
  std::string words_ = {};  // what is neither channel nor constrained type
};

}  // namespace dunlin::harmony
