#include "tokenizer/harmony/header_reader.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace dunlin::harmony {
namespace {

constexpr std::string_view kBlanks = " \t\n\r\f\v";
constexpr std::string_view kRecipient = "to=";

bool is_blank(std::string_view text) {
  return text.find_first_not_of(kBlanks) == std::string_view::npos;
}

std::vector<std::string> words_of(std::string_view text) {
  std::vector<std::string> words;
  for (size_t begin = text.find_first_not_of(kBlanks); begin != std::string_view::npos;) {
    const size_t end = std::min(text.find_first_of(kBlanks, begin), text.size());
    words.emplace_back(text.substr(begin, end - begin));
    begin = text.find_first_not_of(kBlanks, end);
  }
  return words;
}

// Cuts the first word off, with the blanks before it.
std::string_view take_word(std::string_view& text) {
  const size_t begin = std::min(text.find_first_not_of(kBlanks), text.size());
  const size_t end = std::min(text.find_first_of(kBlanks, begin), text.size());
  const std::string_view word = text.substr(begin, end - begin);
  text.remove_prefix(end);
  return word;
}

// The words behind the role: "to=RECIPIENT TYPE", or RECIPIENT alone.
void read_addresses(const std::vector<std::string>& words, Header& header) {
  std::vector<std::string> others;
  for (const std::string& word : words) {
    if (word.starts_with(kRecipient)) {
      header.recipient = word.substr(kRecipient.size());
    } else {
      others.push_back(word);
    }
  }
  size_t next = 0;
  if (header.recipient.empty() && next < others.size()) header.recipient = others[next++];
  if (!header.constrained && next < others.size()) header.content_type = others[next];
}

}  // namespace

void HeaderReader::begin(bool started) {
  *this = HeaderReader();
  started_ = started;
}

void HeaderReader::close_part() {
  const std::string text = std::exchange(part_text_, {});
  const Part part = std::exchange(part_, Part::words);
  if (part == Part::channel) {
    const size_t end = std::min(text.find_first_of(" \t\n\r\f\v<"), text.size());
    if (end > 0) header_.channel = text.substr(0, end);
    words_ += text.substr(end);
  } else if (part == Part::type) {
    std::string_view rest = text;
    header_.content_type = take_word(rest);
    words_ += rest;
  } else {
    words_ += text;
  }
}

void HeaderReader::begin_channel() {
  close_part();
  part_ = Part::channel;
}

void HeaderReader::begin_constrain() {
  close_part();
  header_.constrained = true;
  part_ = Part::type;
}

// Whether the word is a role, or repeats the one that is known.
bool HeaderReader::take_role(std::string_view word) {
  if (role_is_known_) return word == role_name(header_.role);
  const size_t colon = word.find(':');
  const auto role = role_of(word.substr(0, colon));
  if (!role.has_value() || (*role == Role::tool && colon != std::string_view::npos)) return false;
  header_.role = *role;
  if (*role == Role::tool) {
    header_.name = word;
  } else if (colon != std::string_view::npos) {
    header_.name = word.substr(colon + 1);
  }
  role_is_known_ = true;
  return true;
}

Header HeaderReader::complete() {
  close_part();
  std::vector<std::string> words = words_of(words_);
  words_.clear();
  if (!words.empty()) {
    const bool names_tool = !role_is_known_ && !words[0].starts_with(kRecipient);
    if (take_role(words[0])) {
      words.erase(words.begin());
    } else if (names_tool) {
      header_.role = Role::tool;
      header_.name = words[0];
      role_is_known_ = true;
      words.erase(words.begin());
    }
  }
  read_addresses(words, header_);
  return header_;
}

void HeaderReader::settle() {
  // A prompt may end behind a mark, whose text is then generated.
  const Part open = part_text_.empty() ? part_ : Part::words;
  complete();
  part_ = open;
}

HeaderReader::Remains HeaderReader::remains() {
  close_part();
  std::string_view rest = words_;
  std::string_view after_word = rest;
  if (take_role(take_word(after_word))) rest = after_word;
  after_word = rest;
  const std::string_view word = take_word(after_word);
  if (word.starts_with(kRecipient)) {
    header_.recipient = word.substr(kRecipient.size());
    rest = after_word;
  }
  return {header_, is_blank(rest) ? std::string() : std::string(rest)};
}

bool HeaderReader::is_cut_short() const {
  if (!started_) return false;
  HeaderReader probe = *this;
  probe.close_part();
  std::string_view rest = probe.words_;
  std::string_view after_word = rest;
  const std::string_view role = take_word(after_word);
  const bool names_tool = !role_is_known_ && !role.starts_with(kRecipient);
  if (probe.take_role(role) || names_tool) rest = after_word;
  after_word = rest;
  const std::string_view word = take_word(after_word);
  const bool part = kRecipient.starts_with(word) && after_word.empty();
  if (word.starts_with(kRecipient) || part) rest = after_word;
  return is_blank(rest);
}

std::string HeaderReader::take_stray_text() {
  if (started_ || part_ != Part::words) return {};
  std::string_view text = part_text_;
  const std::string_view word = take_word(text);
  HeaderReader probe = *this;
  if (word.starts_with(kRecipient) || probe.take_role(word)) return {};
  std::string stray = std::exchange(part_text_, {});
  return is_blank(stray) ? std::string() : stray;
}

}  // namespace dunlin::harmony
