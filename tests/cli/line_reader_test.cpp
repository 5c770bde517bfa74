#include "cli/line_reader.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <vector>

namespace dunlin {
namespace {

using Status = LineReader::Status;

// The reading end of a pipe that holds `text`, at most a pipe's buffer.
class Input {
 public:
  explicit Input(const std::string& text) {
    EXPECT_EQ(::pipe(ends_), 0);
    EXPECT_EQ(::write(ends_[1], text.data(), text.size()), static_cast<ssize_t>(text.size()));
    ::close(ends_[1]);
  }
  ~Input() { ::close(ends_[0]); }
  int descriptor() const { return ends_[0]; }

 private:
  int ends_[2] = {};
};

std::vector<Message> messages_of(const std::string& text, std::string* prompts = nullptr) {
  const Input input(text);
  LineReader reader(input.descriptor());
  std::vector<Message> messages;
  const NextLine next = [&](bool continued, std::string& line) {
    if (prompts != nullptr) *prompts += continued ? '.' : '>';
    return reader.read(line);
  };
  for (Message message; read_message(next, message).value() == Status::line;)
    messages.push_back(message);
  return messages;
}

TEST(LineReader, LinesEndWithLineFeedsCarriageReturnsOrTheInput) {
  const Input input("one\ntwo\r\n\nlast");
  LineReader reader(input.descriptor());
  std::string line;
  for (const char* wanted : {"one", "two", "", "last"}) {
    EXPECT_EQ(reader.read(line).value(), Status::line);
    EXPECT_EQ(line, wanted);
  }
  EXPECT_EQ(reader.read(line).value(), Status::end);
  EXPECT_EQ(reader.read(line).value(), Status::end);
}

TEST(LineReader, ALineMayBeLongerThanABlock) {
  const std::string longest(20000, 'x');
  const Input input(longest + "\nnext\n");
  LineReader reader(input.descriptor());
  std::string line;
  EXPECT_EQ(reader.read(line).value(), Status::line);
  EXPECT_EQ(line, longest);
  EXPECT_EQ(reader.read(line).value(), Status::line);
  EXPECT_EQ(line, "next");
}

TEST(LineReader, AClosedDescriptorIsAnError) {
  LineReader reader(-1);
  std::string line;
  EXPECT_FALSE(reader.read(line).ok());
}

TEST(ReadMessage, ABackslashContinuesALine) {
  std::string prompts;
  const auto messages = messages_of("a\\\nb\\\nc\nd\n", &prompts);
  ASSERT_EQ(messages.size(), 2u);
  EXPECT_EQ(messages[0].text, "a\nb\nc");
  EXPECT_EQ(messages[1].text, "d");
  EXPECT_EQ(prompts, ">..>>");
}

TEST(ReadMessage, QuotesHoldSeveralLines) {
  for (const char* text :
       {"\"\"\"a\n/b\"\"\"\n", "\"\"\"\na\n/b\n\"\"\"\n", "\"\"\"a\n/b\n\"\"\""}) {
    const auto messages = messages_of(text);
    ASSERT_EQ(messages.size(), 1u) << text;
    EXPECT_EQ(messages[0].text, "a\n/b") << text;
    EXPECT_TRUE(messages[0].quoted);
  }
  EXPECT_EQ(messages_of("\"\"\"one line\"\"\"\n").at(0).text, "one line");
  EXPECT_EQ(messages_of("\"\"\"\n\n  a\n\n\"\"\"\n").at(0).text, "\n  a\n");
}

TEST(ReadMessage, APastedLineHasLineFeedsOfItsOwn) {
  std::vector<std::string> lines = {"a\nb\\", "c", "\"\"\"\nd\ne\n\"\"\""};
  size_t at = 0;
  const NextLine next = [&](bool, std::string& line) -> Result<Status> {
    if (at == lines.size()) return Status::end;
    line = lines[at++];
    return Status::line;
  };
  Message message;
  EXPECT_EQ(read_message(next, message).value(), Status::line);
  EXPECT_EQ(message.text, "a\nb\nc");
  EXPECT_EQ(read_message(next, message).value(), Status::line);
  EXPECT_EQ(message.text, "d\ne");
}

TEST(ReadMessage, TheEndOfTheInputEndsAMessage) {
  EXPECT_EQ(messages_of("a\\").at(0).text, "a");
  EXPECT_EQ(messages_of("\"\"\"a\nb\n").at(0).text, "a\nb");
  EXPECT_TRUE(messages_of("").empty());
}

}  // namespace
}  // namespace dunlin
