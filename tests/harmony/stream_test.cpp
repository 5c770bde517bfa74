// Streams of tokens, whole and mangled, against openai-harmony's parser; and what holds for any.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "harmony_data.h"
#include "support/harmony_tokenizer.h"

namespace dunlin::harmony {
namespace {

using Json = nlohmann::ordered_json;
using Ids = std::vector<int32_t>;

std::string field(const Json& message, const char* key) {
  return message.contains(key) ? message[key].get<std::string>() : std::string();
}

Found found_of(const Json& message) {
  Found found{.content = message["content"], .ended = true};
  Header& header = found.header;
  header.role =
      message.contains("role") ? role_of(field(message, "role")).value() : Role::assistant;
  header.name = field(message, "name");
  header.recipient = field(message, "recipient");
  header.channel = field(message, "channel");
  header.content_type = field(message, "content_type");
  if (header.content_type.starts_with(kConstrain)) {
    header.constrained = true;
    header.content_type.erase(0, kConstrain.size());
  }
  return found;
}

// What stands between <|message|> and the mark that ends the message: a second reading of the
// format, simpler than the parser's.
std::vector<std::string> contents_of(const Ids& ids) {
  const Marks& marks = small_marks();
  std::vector<std::string> contents;
  Ids run;
  bool open = false;
  const auto close = [&] {
    if (open) contents.push_back(small_tokenizer()->decode(run, /*skip_special=*/false));
    open = false;
    run.clear();
  };
  for (const int32_t id : ids) {
    if (id == marks.start || id == marks.end || marks.stops(id)) {
      close();
    } else if (open) {
      run.push_back(id);
    } else {
      open = id == marks.message;
    }
  }
  close();
  return contents;
}

// Every content is there, in order; besides these only contents of messages without <|message|>.
void expect_contents(const std::vector<Found>& messages, const Ids& ids) {
  auto next = messages.begin();
  for (const std::string& content : contents_of(ids)) {
    next = std::find_if(next, messages.end(),
                        [&](const Found& each) { return each.content == content; });
    ASSERT_NE(next, messages.end())
        << testing::PrintToString(content) << " of " << small_tokenizer()->decode(ids, false);
    ++next;
  }
}

TEST(Stream, EqualsTheReference) {
  const Ids prompt = ids_of("«start»assistant");
  int complete = 0, cases = 0;
  for (const Json& each : load_golden("streams.json")) {
    const bool has_role = each["role"];
    const Ids ids = ids_of(each["text"].get<std::string>());
    const auto messages =
        parse(ids, has_role ? std::span<const int32_t>(prompt) : std::span<const int32_t>());
    std::vector<Found> wanted;
    for (const Json& message : each["messages"]) wanted.push_back(found_of(message));
    if (each["complete"]) {
      EXPECT_EQ(messages, wanted) << each["text"];
    } else {
      ASSERT_GE(messages.size(), wanted.size()) << each["text"];
      EXPECT_EQ(std::vector<Found>(messages.begin(), messages.begin() + std::ssize(wanted)), wanted)
          << each["text"];
    }
    expect_contents(messages, ids);
    complete += each["complete"] ? 1 : 0;
    ++cases;
  }
  EXPECT_GE(complete, 100);
  EXPECT_GE(cases - complete, 100);
}

// Streams that no model writes: marks, words and bytes at random, from within a conversation or from
// nothing.
TEST(Stream, AnyIdsAreRead) {
  std::mt19937 random(7);
  const auto below = [&random](uint32_t bound) { return static_cast<int32_t>(random() % bound); };
  const int32_t first_mark = harmony_id("<|endoftext|>");
  for (int round = 0; round < 2000; ++round) {
    Ids ids;
    const int32_t length = below(60);
    const bool with_bytes = round % 2 == 0;
    for (int32_t i = 0; i < length; ++i)
      ids.push_back(below(2) == 0 ? first_mark + below(9)
                    : with_bytes  ? below(256)
                                  : 256 + below(14));
    expect_contents(parse(ids), ids);
    const Ids prompt = ids_of("«start»assistant«channel»");
    parse(ids, prompt);
  }
}

}  // namespace
}  // namespace dunlin::harmony
