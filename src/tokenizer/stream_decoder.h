// StreamDecoder: text from ids that arrive one by one. What it has given out is always complete
// UTF-8, and all of it together is what Tokenizer::decode gives for all ids at once.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "tokenizer/tokenizer.h"

namespace dunlin {

class StreamDecoder {
 public:
  StreamDecoder(std::shared_ptr<const Tokenizer> tokenizer, bool skip_special)
      : tokenizer_(std::move(tokenizer)), skip_special_(skip_special) {}

  // The text that became certain with this id; a sequence that later ids may complete is held back.
  std::string feed(int32_t id);
  // What is held back, as U+FFFD; the decoder is then as new.
  std::string flush();

 private:
  std::shared_ptr<const Tokenizer> tokenizer_;
  bool skip_special_;
  std::string held_back_;  // the beginning of one character, at most three bytes
};

}  // namespace dunlin
