// Golden data of tests/harmony/data (tools/make_harmony_golden.py says what the files hold), and
// conversations as text in which «start» is the special token <|start|>.
#pragma once

#include <cstdint>
#include <iosfwd>
#include <memory>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/harmony/message.h"
#include "tokenizer/harmony/parser.h"
#include "tokenizer/text_span.h"
#include "tokenizer/tokenizer.h"

namespace dunlin::harmony {

nlohmann::ordered_json load_golden(const std::string& name);

// The tokenizer of support/harmony_tokenizer.h.
std::shared_ptr<const Tokenizer> small_tokenizer();
const Marks& small_marks();

// Spans that allow special tokens, as «name».
std::string marked_text(const std::vector<TextSpan>& spans);
// Token ids of a marked text.
std::vector<int32_t> ids_of(std::string_view marked);

// A message as a parser finds it.
struct Found {
  Header header = {};
  std::string content = {};
  bool ended = false;

  bool operator==(const Found&) const = default;
};
void PrintTo(const Found& found, std::ostream* out);

// Expects that every event has its place: content and end within a message only. Adds to `messages`.
void collect(const std::vector<ParseEvent>& events, std::vector<Found>& messages);

// All messages of an answer, after a prompt.
std::vector<Found> parse(std::span<const int32_t> answer, std::span<const int32_t> prompt = {});

}  // namespace dunlin::harmony
