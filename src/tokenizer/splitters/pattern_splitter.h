// PatternSplitter: the pre-tokenizer of a tokenizer.json that is none of the families with a splitter
// of their own: a sequence of steps, each of which cuts the pieces of the one before.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "tokenizer/splitters/pattern.h"
#include "tokenizer/splitters/splitter.h"

namespace dunlin {

// What becomes of a pattern's matches (`tokenizers` 0.23, SplitDelimiterBehavior).
enum class MatchBehavior { isolated, removed, merged_with_previous, merged_with_next, contiguous };

// A step sees every piece as a text of its own.
struct PatternStep {
  enum class Kind {
    pattern,
    gpt2,           // GPT-2's pattern, isolated
    byte_alphabet,  // the steps behind see the bytes as characters of that alphabet (byte_alphabet.h)
  };
  Kind kind = Kind::pattern;
  std::optional<Pattern> pattern;
  MatchBehavior behavior = MatchBehavior::isolated;
  bool invert = false;  // what lies between the matches counts as the matches
};

// Immutable; shared by threads.
class PatternSplitter {
 public:
  explicit PatternSplitter(std::vector<PatternStep> steps) : steps_(std::move(steps)) {}

  // The pieces of `text`, which is valid UTF-8 below 2 GiB, in order; none is empty, and what
  // MatchBehavior::removed takes away is in none. An error when a pattern breaks its bounds (pattern.h);
  // it names the step, counted from 1.
  Result<std::vector<Piece>> split(std::string_view text) const;

 private:
  std::vector<PatternStep> steps_;
};

}  // namespace dunlin
