// What `/set` of a chat and a line of a batch of prompts change: sampling parameters and the length
// of answers, by name.
#pragma once

#include <dunlin/sampling.h>

#include <cstdint>
#include <string>

#include "base/result.h"

namespace dunlin {

struct ChatSettings {
  SamplingParams sampling = {};
  int64_t max_tokens = -1;  // of an answer; -1: until the context is full
  bool diffusion = false;   // only what a model that fills in masks knows

  // Names are those of the flags, with - or _. Errors (kind usage) leave everything as it was: an
  // unknown name, with the nearest one, one that such a model does not know, and a value that is not
  // a number or out of range.
  Result<void> set(const std::string& name, const std::string& value, int64_t vocabulary);

  // One line per setting: "temp 0.8".
  std::string text() const;
};

}  // namespace dunlin
