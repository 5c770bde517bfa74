// StopMatcher: finds stop strings in streamed text, also across the borders of its pieces.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace dunlin {

class StopMatcher {
 public:
  explicit StopMatcher(std::vector<std::string> stops);

  struct Output {
    std::string text;      // certain to precede any stop string
    bool stopped = false;  // a stop string was found; it and what follows are dropped
  };
  // Holds back the end of the text that may be the beginning of a stop string. Nothing comes after a stop.
  Output feed(std::string_view piece);
  // The text that was held back, at the end of the answer.
  std::string flush();

 private:
  size_t held_back() const;

  std::vector<std::string> stops_;
  std::string pending_;
  bool stopped_ = false;
};

}  // namespace dunlin
