// Fuzzes Harmony: an input that begins with { is a conversation, {"messages": [...], "tools": [...]};
// any other is a stream of tokens, one a byte: below 128 the byte itself, above the words and special
// tokens of support/harmony_tokenizer.h.
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "base/json_document.h"
#include "support/harmony_tokenizer.h"
#include "tokenizer/harmony/chat_messages.h"
#include "tokenizer/harmony/parser.h"
#include "tokenizer/harmony/render.h"

namespace {

using namespace dunlin;

void require(bool condition) {
  if (!condition) std::abort();
}

const std::shared_ptr<const Tokenizer>& tokenizer() {
  static const auto kTokenizer =
      Tokenizer::from_json_text(harmony_tokenizer_json(), "harmony_tokenizer_json").value();
  return kTokenizer;
}

void write(const std::string& text) {
  const auto json = parse_ordered_json_object(text, "fuzz");
  if (!json.ok()) return;
  const auto value_of = [&json](const char* name) {
    const auto at = json->find(name);
    return at == json->end() ? nlohmann::ordered_json() : *at;
  };
  const auto conversation = harmony::read_chat(value_of("messages"), value_of("tools"), {});
  if (!conversation.ok()) return;
  const auto spans = harmony::render(*conversation);
  size_t marks = 0;
  for (size_t i = 0; i < spans.size(); ++i) {
    require(!spans[i].text.empty());
    require(i == 0 || spans[i].allow_special != spans[i - 1].allow_special);
    for (size_t at = 0; spans[i].allow_special && at < spans[i].text.size(); ++marks)
      at = spans[i].text.find("|>", at) + 2;
  }
  const auto ids = tokenizer()->encode(spans, harmony::kAllMarks);
  if (!ids.ok()) return;
  for (const int32_t id : *ids) marks -= tokenizer()->is_special(id) ? 1 : 0;
  require(marks == 0);
}

// Content and end come within a message only.
void check(const std::vector<harmony::ParseEvent>& events, bool& open) {
  using Kind = harmony::ParseEvent::Kind;
  for (const harmony::ParseEvent& each : events) {
    require(open == (each.kind == Kind::content || each.kind == Kind::end));
    if (each.kind == Kind::begin) open = true;
    if (each.kind == Kind::end) open = false;
  }
}

void read(const std::string& text) {
  harmony::Parser parser(tokenizer(), harmony::find_marks(*tokenizer()).value());
  bool open = false;
  for (const char each : text) {
    const auto byte = static_cast<unsigned char>(each);
    const int32_t words = tokenizer()->vocab_size() - 256;
    check(parser.feed(byte < 128 ? byte : 256 + (byte - 128) % words), open);
    require(open == (parser.open_message() != nullptr));
  }
  check(parser.finish(), open);
  require(!open);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  if (text.starts_with('{')) {
    write(text);
  } else {
    read(text);
  }
  return 0;
}
