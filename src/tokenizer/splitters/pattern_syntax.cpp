#include "tokenizer/splitters/pattern_syntax.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <vector>

#include "tokenizer/utf8.h"

namespace dunlin {
namespace {

constexpr int kMaxNesting = 100;  // of groups and classes

// As parts of a class: White_Space (PropList.txt); and \w of Oniguruma 6.9, which outside classes also
// takes the numbers that ISO 8859-1 counts as letters.
constexpr std::string_view kSpaceSet =
    R"(\x09-\x0d\x20\x85\xa0\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000})";
constexpr std::string_view kWordSet = R"(\p{Alphabetic}\p{M}\p{Nd}\p{Pc})";
constexpr std::string_view kWordSetOutside =
    R"(\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\xb2\xb3\xb9\xbc-\xbe)";

bool is_ascii_alphanumeric(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

std::string quote(char32_t c) {
  return fmt::format("\\x{{{:x}}}", static_cast<uint32_t>(c));
}

// A set of characters: the inside of a PCRE2 class, and patterns of one character that it cannot hold.
struct CharacterSet {
  std::string flat;
  std::vector<std::string> others;

  // One item, so that a quantifier may follow.
  std::string pattern() const {
    if (others.empty()) return fmt::format("[{}]", flat);
    if (flat.empty() && others.size() == 1) return others[0];
    const std::string first = flat.empty() ? std::string() : fmt::format("[{}]|", flat);
    return fmt::format("(?:{}{})", first, fmt::join(others, "|"));
  }
  std::string complement() const {
    if (others.empty()) return fmt::format("[^{}]", flat);
    return fmt::format("(?:(?!{})\\p{{Any}})", pattern());
  }
};

class Translator {
 public:
  explicit Translator(std::string_view pattern) : pattern_(pattern) {}
  Result<std::string> run();

 private:
  // What an escape stands for: one character, or a set.
  struct Escape {
    std::optional<char32_t> character;
    CharacterSet set;
  };

  bool at(std::string_view text) const { return pattern_.substr(at_, text.size()) == text; }
  char peek(size_t ahead = 0) const {
    return at_ + ahead < pattern_.size() ? pattern_[at_ + ahead] : '\0';
  }
  bool skip(std::string_view text) {
    const bool found = at(text);
    if (found) at_ += text.size();
    return found;
  }
  char32_t take_character() {
    const CodePoint c = read_code_point(pattern_.data() + at_);
    at_ += c.length;
    return c.value;
  }
  Error unsupported(std::string_view what) const {
    return model_error(fmt::format("{} at byte {} is not supported", what, at_));
  }
  void atom(std::string_view text) {
    atom_ = out_.size();
    out_ += text;
  }

  Result<void> one();
  Result<void> open_group();
  Result<void> close_group();
  Result<bool> quantifier();
  Result<bool> assertion();
  Result<Escape> escape();
  Result<Escape> hexadecimal(size_t digits);
  Result<Escape> property(bool negated);
  Result<CharacterSet> character_class();
  Result<CharacterSet> class_operand();
  Result<void> class_item(CharacterSet& set);

  std::string_view pattern_;
  size_t at_ = 0;
  std::string out_;
  size_t atom_ = 0;             // where in out_ the part that a quantifier would repeat begins
  std::vector<size_t> groups_;  // where in out_ the open groups begin
  int class_depth_ = 0;
};

Result<std::string> Translator::run() {
  while (at_ < pattern_.size()) DUNLIN_RETURN_IF_ERROR(one());
  if (!groups_.empty()) return model_error("a group is not closed");
  return std::move(out_);
}

Result<void> Translator::one() {
  DUNLIN_ASSIGN_OR_RETURN(const bool quantified, quantifier());
  if (quantified) return {};
  switch (peek()) {
    case '(':
      return open_group();
    case ')':
      return close_group();
    case '|':
    case '^':
    case '$':
    case '.':
      atom(pattern_.substr(at_++, 1));
      return {};
    case '[': {
      DUNLIN_ASSIGN_OR_RETURN(const CharacterSet set, character_class());
      atom(set.pattern());
      return {};
    }
    case '\\': {
      DUNLIN_ASSIGN_OR_RETURN(const bool asserted, assertion());
      if (asserted) return {};
      DUNLIN_ASSIGN_OR_RETURN(const Escape escaped, escape());
      atom(escaped.character ? quote(*escaped.character) : escaped.set.pattern());
      return {};
    }
    default:
      atom(quote_pattern(pattern_.substr(at_, read_code_point(pattern_.data() + at_).length)));
      take_character();
      return {};
  }
}

Result<void> Translator::open_group() {
  if (groups_.size() >= kMaxNesting) return unsupported("a group nested this deeply");
  groups_.push_back(out_.size());
  ++at_;
  if (peek() != '?') {
    out_ += "(?:";
    return {};
  }
  for (const std::string_view opening : {"?:", "?i:", "?-i:", "?=", "?!", "?<=", "?<!", "?>"}) {
    if (!skip(opening)) continue;
    out_ += '(';
    out_ += opening;
    return {};
  }
  // To the end of the pattern; further in, Oniguruma lets a flag reach over the bars behind it.
  if (at_ == 1 && skip("?i)")) {
    out_ += "(?i)";
    groups_.pop_back();
    return {};
  }
  return unsupported("this kind of group");
}

Result<void> Translator::close_group() {
  if (groups_.empty()) return unsupported("a ) that closes nothing");
  atom_ = groups_.back();
  groups_.pop_back();
  out_ += ')';
  ++at_;
  return {};
}

// * + ? {n} {n,} {,m} {n,m}, then ? for the shortest or + for no backtracking. A brace that begins none
// of them is a character.
Result<bool> Translator::quantifier() {
  const char first = peek();
  if (first == '*' || first == '+' || first == '?') {
    out_ += first;
    ++at_;
    if (peek() == '?' || peek() == '+') out_ += pattern_[at_++];
    return true;
  }
  if (first != '{') return false;
  const size_t close = pattern_.find('}', at_);
  if (close == pattern_.npos) return false;
  const std::string_view inside = pattern_.substr(at_ + 1, close - at_ - 1);
  const size_t comma = inside.find(',');
  const std::string_view low = inside.substr(0, comma);
  const std::string_view high = comma == inside.npos ? "" : inside.substr(comma + 1);
  const auto is_number = [](std::string_view text) {
    return std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
  };
  if ((low.empty() && high.empty()) || !is_number(low) || !is_number(high)) return false;
  at_ = close + 1;
  out_ += fmt::format("{{{}{}{}}}", low.empty() ? "0" : low, comma == inside.npos ? "" : ",", high);
  if (peek() == '+') {  // for Oniguruma a repetition of the repetition
    out_.insert(atom_, "(?:");
    out_ += ')';
  } else if (peek() == '?') {
    if (comma == inside.npos) return unsupported("{n}?");
    out_ += '?';
    ++at_;
  }
  return true;
}

// \b \B between a word character and another, \A \z \Z.
Result<bool> Translator::assertion() {
  const char kind = peek(1);
  if (kind == 'A' || kind == 'z' || kind == 'Z') {
    atom(pattern_.substr(at_, 2));
  } else if (kind == 'b' || kind == 'B') {
    const std::string in = fmt::format("[{}]", kWordSetOutside);
    atom(kind == 'b' ? fmt::format("(?:(?<={0})(?!{0})|(?<!{0})(?={0}))", in)
                     : fmt::format("(?:(?<={0})(?={0})|(?<!{0})(?!{0}))", in));
  } else {
    return false;
  }
  at_ += 2;
  return true;
}

Result<Translator::Escape> Translator::escape() {
  const std::string_view words = class_depth_ > 0 ? kWordSet : kWordSetOutside;
  ++at_;
  if (at_ == pattern_.size()) return unsupported("a \\ at the end");
  if (!is_ascii_alphanumeric(peek())) return Escape{take_character(), {}};
  static constexpr std::string_view kNames = "tnrfvae";
  static constexpr std::string_view kValues = "\t\n\r\f\v\a\x1b";
  const char name = pattern_[at_++];
  if (const size_t index = kNames.find(name); index != kNames.npos)
    return Escape{static_cast<char32_t>(kValues[index]), {}};
  switch (name) {
    case 's':
      return Escape{{}, {std::string(kSpaceSet), {}}};
    case 'S':
      return Escape{{}, {{}, {fmt::format("[^{}]", kSpaceSet)}}};
    case 'w':
      return Escape{{}, {std::string(words), {}}};
    case 'W':
      return Escape{{}, {{}, {fmt::format("[^{}]", words)}}};
    case 'd':
      return Escape{{}, {"\\p{Nd}", {}}};
    case 'D':
      return Escape{{}, {"\\P{Nd}", {}}};
    case 'x':
      return hexadecimal(2);
    case 'u':
      return hexadecimal(4);
    case 'p':
    case 'P':
      return property(name == 'P');
    default:
      --at_;
      return unsupported(fmt::format("\\{}", name));
  }
}

// \xHH and \uHHHH, or \x{H...}.
Result<Translator::Escape> Translator::hexadecimal(size_t digits) {
  std::string_view text = pattern_.substr(at_, digits);
  size_t length = digits;
  if (peek() == '{' && digits == 2) {
    const size_t close = std::min(pattern_.find('}', at_), pattern_.size());
    text = pattern_.substr(at_ + 1, close - at_ - 1);
    length = text.size() + 2;
  }
  uint32_t value = 0;
  const char* end = text.data() + text.size();
  const auto parsed = std::from_chars(text.data(), end, value, 16);
  const bool scalar = value < 0xD800 || (value > 0xDFFF && value <= 0x10FFFF);
  // Two digits beyond 7F are a byte of UTF-8 for Oniguruma.
  const bool byte = length == 2 && value > 0x7F;
  if (text.empty() || parsed.ec != std::errc() || parsed.ptr != end || !scalar || byte ||
      at_ + length > pattern_.size()) {
    return unsupported("this character number");
  }
  at_ += length;
  return Escape{static_cast<char32_t>(value), {}};
}

// \p{..}: a general category or a script.
Result<Translator::Escape> Translator::property(bool negated) {
  const size_t close = pattern_.find('}', at_);
  if (peek() != '{' || close == pattern_.npos) return unsupported("\\p without {}");
  std::string_view name = pattern_.substr(at_ + 1, close - at_ - 1);
  if (name.starts_with('^')) {
    negated = !negated;
    name.remove_prefix(1);
  }
  if (name.empty() || !std::all_of(name.begin(), name.end(), is_ascii_alphanumeric))
    return unsupported("this property name");
  at_ = close + 1;
  const std::string_view kind = name.size() <= 2 || name == "Any" ? "" : "sc:";
  return Escape{{}, {fmt::format("\\{}{{{}{}}}", negated ? 'P' : 'p', kind, name), {}}};
}

Result<CharacterSet> Translator::character_class() {
  if (++class_depth_ > kMaxNesting) return unsupported("a class nested this deeply");
  ++at_;
  const bool negated = skip("^");
  DUNLIN_ASSIGN_OR_RETURN(CharacterSet set, class_operand());
  while (skip("&&")) {  // what is in the next operand too
    DUNLIN_ASSIGN_OR_RETURN(const CharacterSet other, class_operand());
    set = {{}, {fmt::format("(?:(?={}){})", other.pattern(), set.pattern())}};
  }
  if (!skip("]")) return unsupported("a class that is not closed");
  --class_depth_;
  if (!negated) return set;
  return CharacterSet{{}, {set.complement()}};
}

// The items up to && or the closing bracket, at least one.
Result<CharacterSet> Translator::class_operand() {
  CharacterSet set;
  do {
    DUNLIN_RETURN_IF_ERROR(class_item(set));
  } while (at_ < pattern_.size() && !at("]") && !at("&&"));
  return set;
}

// One character, escape, range or class inside a class.
Result<void> Translator::class_item(CharacterSet& set) {
  if (at_ == pattern_.size()) return unsupported("a class that is not closed");
  if (at("[:")) return unsupported("a POSIX bracket");
  const auto add = [&set](const CharacterSet& other) {
    set.flat += other.flat;
    set.others.insert(set.others.end(), other.others.begin(), other.others.end());
  };
  if (at("[")) {
    DUNLIN_ASSIGN_OR_RETURN(const CharacterSet inner, character_class());
    add(inner);
    return {};
  }
  const auto item = [this]() -> Result<Escape> {
    if (peek() == '\\') return escape();
    return Escape{take_character(), {}};
  };
  DUNLIN_ASSIGN_OR_RETURN(const Escape first, item());
  if (!first.character) {
    add(first.set);
    return {};
  }
  set.flat += quote(*first.character);
  const bool range = peek() == '-' && at_ + 1 < pattern_.size() && peek(1) != ']';
  if (!range) return {};
  ++at_;
  if (at("[") || at("&&")) return unsupported("this range");
  DUNLIN_ASSIGN_OR_RETURN(const Escape last, item());
  if (!last.character || *last.character < *first.character) return unsupported("this range");
  set.flat += '-' + quote(*last.character);
  return {};
}

}  // namespace

Result<std::string> translate_pattern(std::string_view pattern) {
  return Translator(pattern).run();
}

std::string quote_pattern(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size();) {
    const CodePoint c = read_code_point(text.data() + i);
    const bool plain = c.length == 1 && is_ascii_alphanumeric(text[i]);
    out += plain ? std::string(1, text[i]) : quote(c.value);
    i += c.length;
  }
  return out;
}

}  // namespace dunlin
