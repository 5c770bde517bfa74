#include "harmony_data.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <ostream>

#include "support/harmony_tokenizer.h"

namespace dunlin::harmony {
namespace {

constexpr std::string_view kOpen = "«";
constexpr std::string_view kClose = "»";

void append(std::vector<int32_t>& ids, std::string_view text) {
  const auto more = small_tokenizer()->encode(text, /*parse_special=*/false).value();
  ids.insert(ids.end(), more.begin(), more.end());
}

}  // namespace

nlohmann::ordered_json load_golden(const std::string& name) {
  std::ifstream file(DUNLIN_SOURCE_DIR "/tests/harmony/data/" + name);
  return nlohmann::ordered_json::parse(file);
}

std::shared_ptr<const Tokenizer> small_tokenizer() {
  static const auto kTokenizer =
      Tokenizer::from_json_text(harmony_tokenizer_json(), "harmony_tokenizer_json").value();
  return kTokenizer;
}

const Marks& small_marks() {
  static const Marks kMarks = find_marks(*small_tokenizer()).value();
  return kMarks;
}

std::string marked_text(const std::vector<TextSpan>& spans) {
  std::string text;
  for (const TextSpan& span : spans) {
    if (!span.allow_special) {
      text += span.text;
      continue;
    }
    // One or more marks: "<|end|><|start|>".
    for (size_t at = 0; at < span.text.size();) {
      const size_t end = span.text.find("|>", at);
      if (!span.text.substr(at).starts_with("<|") || end == std::string::npos)
        return "no marks: " + span.text;
      text += std::string(kOpen) + span.text.substr(at + 2, end - at - 2) + std::string(kClose);
      at = end + 2;
    }
  }
  return text;
}

std::vector<int32_t> ids_of(std::string_view marked) {
  std::vector<int32_t> ids;
  while (!marked.empty()) {
    const size_t open = std::min(marked.find(kOpen), marked.size());
    append(ids, marked.substr(0, open));
    marked.remove_prefix(open);
    if (marked.empty()) break;
    const size_t close = marked.find(kClose);
    const std::string_view name = marked.substr(kOpen.size(), close - kOpen.size());
    ids.push_back(harmony_id("<|" + std::string(name) + "|>"));
    marked.remove_prefix(close + kClose.size());
  }
  return ids;
}

void PrintTo(const Found& found, std::ostream* out) {
  const Header& header = found.header;
  *out << role_name(header.role) << " name=" << header.name << " to=" << header.recipient
       << " channel=" << header.channel << (header.constrained ? " constrained" : "")
       << " type=" << header.content_type << (found.ended ? "" : " open") << ": "
       << testing::PrintToString(found.content);
}

void collect(const std::vector<ParseEvent>& events, std::vector<Found>& messages) {
  for (const ParseEvent& each : events) {
    const bool open = !messages.empty() && !messages.back().ended;
    switch (each.kind) {
      case ParseEvent::Kind::begin:
        EXPECT_FALSE(open);
        messages.push_back({.header = each.header});
        break;
      case ParseEvent::Kind::content:
        ASSERT_TRUE(open);
        EXPECT_NE(each.text, "");
        messages.back().content += each.text;
        break;
      case ParseEvent::Kind::end:
        ASSERT_TRUE(open);
        messages.back().ended = true;
        break;
      case ParseEvent::Kind::stop:
        EXPECT_FALSE(open);
        break;
    }
  }
}

std::vector<Found> parse(std::span<const int32_t> answer, std::span<const int32_t> prompt) {
  Parser parser(small_tokenizer(), small_marks());
  std::vector<Found> messages;
  if (!prompt.empty()) {
    EXPECT_TRUE(parser.resume(prompt));
    if (parser.open_message() != nullptr) messages.push_back({.header = *parser.open_message()});
  }
  for (const int32_t id : answer) collect(parser.feed(id), messages);
  collect(parser.finish(), messages);
  EXPECT_EQ(parser.open_message(), nullptr);
  return messages;
}

}  // namespace dunlin::harmony
