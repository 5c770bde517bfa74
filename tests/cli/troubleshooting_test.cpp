// docs/troubleshooting.md: every message that it explains is provoked, and says what it says there.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <regex>
#include <sstream>

#include "troubleshooting.h"

namespace dunlin {
namespace {

struct Entry {
  std::string message;
  int code = -1;  // -1: not said
  bool has_cause = false;
  bool has_cure = false;
};

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

// Headings of the third level, in one pair of back quotes or in two.
std::vector<Entry> read_document() {
  std::vector<Entry> entries;
  std::smatch match;
  for (const std::string& line : lines_of(read_all(DUNLIN_SOURCE_DIR "/docs/troubleshooting.md"))) {
    if (std::regex_match(line, match, std::regex("### (`+)(.*)\\1"))) {
      entries.push_back({.message = match[2]});
    } else if (!entries.empty()) {
      Entry& entry = entries.back();
      entry.has_cause |= line.starts_with("Cause: ");
      entry.has_cure |= line.starts_with("Cure: ");
      if (std::regex_search(line, match, std::regex("exit\\s+code ([0-9]+)")))
        entry.code = std::stoi(match[1]);
    }
  }
  return entries;
}

const std::vector<Entry>& document_entries() {
  static const std::vector<Entry> kEntries = read_document();
  return kEntries;
}

std::vector<MessageCase> all_cases() {
  std::vector<MessageCase> all;
  for (const auto& cases :
       {flag_messages(), model_messages(), hub_messages(), text_messages(), reasoning_messages(),
        machine_messages(), chat_messages(), bench_messages()}) {
    all.insert(all.end(), cases.begin(), cases.end());
  }
  return all;
}

// <n> and <the like> stand for any text, everything else for itself.
bool says(const std::string& line, const std::string& message) {
  static const std::regex kSpecial(R"([.^$|()\[\]{}*+?\\])");
  static const std::regex kVariable("<[a-z ]+>");
  const std::string escaped = std::regex_replace(message, kSpecial, R"(\$&)");
  return std::regex_match(line, std::regex(std::regex_replace(escaped, kVariable, "(.+)")));
}

TEST(Troubleshooting, WildcardsMatchWhatVariesAndNothingElse) {
  EXPECT_TRUE(says("error: a/b.c: 12 bytes (0.5 GiB)", "error: <file>: <n> bytes (<n> GiB)"));
  EXPECT_FALSE(says("error: a/b.c: 12 bytes (0.5 GiB)", "error: <file>: <n> byte"));
  EXPECT_FALSE(says("error: : 12 bytes", "error: <file>: <n> bytes"));
  EXPECT_FALSE(says("an error: x", "error: x"));
  EXPECT_FALSE(says("axb", "a.b"));
}

TEST(Troubleshooting, TheDocumentHasAnEntryForEachCaseAndACaseForEachEntry) {
  std::vector<std::string> documented;
  for (const Entry& entry : document_entries()) {
    documented.push_back(entry.message);
    EXPECT_TRUE(entry.has_cause && entry.has_cure && entry.code >= 0) << entry.message;
  }
  std::vector<std::string> provoked;
  for (const MessageCase& each : all_cases()) provoked.push_back(each.message);
  EXPECT_GE(documented.size(), 30u);
  EXPECT_THAT(provoked, testing::UnorderedElementsAreArray(documented));
}

class Message : public testing::TestWithParam<MessageCase> {};

TEST_P(Message, IsPrintedAsTheDocumentSays) {
  if (!GetParam().applies) GTEST_SKIP() << "not in this build";
  const std::string& message = GetParam().message;
  const auto& entries = document_entries();
  const auto entry = std::ranges::find(entries, message, &Entry::message);
  ASSERT_NE(entry, entries.end()) << message;
  const TemporaryFolder folder;
  const ProcessResult result = GetParam().provoke(folder);
  EXPECT_EQ(result.code, entry->code) << result.err;
  const auto lines = lines_of(result.err);
  EXPECT_TRUE(std::ranges::any_of(
      lines, [&message](const std::string& line) { return says(line, message); }))
      << "wanted: " << message << "\nprinted: " << result.err;
}

std::string name_of(const testing::TestParamInfo<MessageCase>& info) {
  return fmt::format("{}{}", info.index,
                     std::regex_replace(info.param.message, std::regex("[^A-Za-z0-9]+"), "_"));
}

INSTANTIATE_TEST_SUITE_P(Troubleshooting, Message, testing::ValuesIn(all_cases()), name_of);

}  // namespace
}  // namespace dunlin
