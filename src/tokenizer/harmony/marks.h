// The special tokens that make up Harmony messages.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "tokenizer/tokenizer.h"

namespace dunlin::harmony {

inline constexpr std::string_view kStart = "<|start|>";          // begins a header
inline constexpr std::string_view kChannel = "<|channel|>";      // its channel follows
inline constexpr std::string_view kConstrain = "<|constrain|>";  // its content type follows
inline constexpr std::string_view kMessage = "<|message|>";      // the content follows
inline constexpr std::string_view kEnd = "<|end|>";              // ends a message
inline constexpr std::string_view kReturn = "<|return|>";        // ends a message and the answer
inline constexpr std::string_view kCall = "<|call|>";  // ends a call of a tool: it is awaited
// All of them, as the source of a chat template that writes each would name them: no text of a
// message becomes one, whatever a file says of their kind (Tokenizer::encode).
inline constexpr std::string_view kAllMarks =
    "<|start|><|channel|><|constrain|><|message|><|end|><|return|><|call|>";

// Their ids.
struct Marks {
  int32_t start = 0;
  int32_t channel = 0;
  int32_t constrain = 0;
  int32_t message = 0;
  int32_t end = 0;
  int32_t return_ = 0;
  int32_t call = 0;
  std::optional<int32_t> end_of_text = std::nullopt;  // <|endoftext|>, where there is one

  // Whether the model has nothing more to say after the token. <|end|> is no such token: the next
  // message follows it.
  bool stops(int32_t id) const { return id == return_ || id == call || id == end_of_text; }
  std::vector<int32_t> stop_ids() const;
};

// Nothing for a tokenizer that lacks one of the seven: its model was not trained on Harmony.
std::optional<Marks> find_marks(const Tokenizer& tokenizer);

}  // namespace dunlin::harmony
