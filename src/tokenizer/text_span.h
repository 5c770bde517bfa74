// TextSpan: a piece of text with its origin, from the chat template to the tokenizer.
#pragma once

#include <string>

namespace dunlin {

// Special tokens are recognised only where every byte of their content comes from spans with
// allow_special: the template's own literals and its bos/eos variables, never the text of a
// message.
struct TextSpan {
  std::string text;
  bool allow_special = false;
};

}  // namespace dunlin
