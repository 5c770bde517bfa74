// Python's str methods, keeping the origin of every byte.
#include <fmt/format.h>

#include <algorithm>

#include "tokenizer/jinja/builtins.h"
#include "tokenizer/jinja/format.h"
#include "tokenizer/jinja/text_case.h"
#include "tokenizer/jinja/text_search.h"
#include "tokenizer/jinja/unicode.h"

namespace dunlin::jinja {
namespace {

struct Method {
  std::string_view name;
  Value (*function)(Runtime& runtime, const Text& self, const Arguments& arguments);
};

template <Side side>
Value strip_method(Runtime& runtime, const Text& self, const Arguments& arguments) {
  const BoundArguments bound("strip", arguments, {"chars"});
  const Text* characters = bound.text_or_none(0);
  return make_string(strip(self, characters ? &characters->bytes() : nullptr, side),
                     runtime.budget);
}

template <Text (*change)(const Text&)>
Value case_method(Runtime& runtime, const Text& self, const Arguments& arguments) {
  const BoundArguments bound("case conversion", arguments, {});
  return make_string(change(self), runtime.budget);
}

// The byte positions that the optional code point positions start and end name.
ByteRange search_range(const Text& self, const BoundArguments& bound) {
  const auto count = static_cast<int64_t>(count_code_points(self.bytes()));
  const auto place = [&](size_t parameter, int64_t fallback) {
    int64_t position = fallback;
    if (bound.find(parameter) && !bound.find(parameter)->is_none())
      position = bound.integer_or(parameter, fallback);
    if (position < 0) position = std::max<int64_t>(position, -count) + count;
    return position;
  };
  const int64_t start = place(1, 0);
  const int64_t end = std::min(place(2, count), count);
  if (start > end) return {1, 0};  // not even the empty string is found
  return {byte_offset(self.bytes(), static_cast<size_t>(start)),
          byte_offset(self.bytes(), static_cast<size_t>(end))};
}

template <bool at_end>
bool has_affix(std::string_view text, std::string_view affix) {
  return at_end ? text.ends_with(affix) : text.starts_with(affix);
}

template <bool at_end>
Value affix_method(Runtime& runtime, const Text& self, const Arguments& arguments) {
  const BoundArguments bound(at_end ? "endswith" : "startswith", arguments,
                             {"affix", "start", "end"}, 1);
  const ByteRange range = search_range(self, bound);
  if (range.begin > range.end) return Value(false);
  const std::string_view text =
      std::string_view(self.bytes()).substr(range.begin, range.end - range.begin);
  const Sequence* choices = bound.value(0).sequence();
  if (!choices || choices->kind != Sequence::Kind::tuple)
    return Value(has_affix<at_end>(text, bound.text(0).bytes()));
  for (const Value& choice : choices->items) {
    runtime.budget.step();
    if (!choice.text())
      throw TemplateError("startswith and endswith take a string or a tuple of strings");
    if (has_affix<at_end>(text, choice.text()->bytes())) return Value(true);
  }
  return Value(false);
}

template <bool at_end>
Value remove_affix_method(Runtime& runtime, const Text& self, const Arguments& arguments) {
  const BoundArguments bound(at_end ? "removesuffix" : "removeprefix", arguments, {"affix"}, 1);
  const std::string& affix = bound.text(0).bytes();
  if (!has_affix<at_end>(self.bytes(), affix)) return make_string(self, runtime.budget);
  const size_t kept = self.size() - affix.size();
  return make_string(at_end ? self.slice(0, kept) : self.slice(affix.size(), self.size()),
                     runtime.budget);
}

Value find_method(Runtime&, const Text& self, const Arguments& arguments) {
  const BoundArguments bound("find", arguments, {"sub", "start", "end"}, 1);
  const std::string& part = bound.text(0).bytes();
  const ByteRange range = search_range(self, bound);
  if (range.begin > range.end) return Value(int64_t{-1});
  const std::string_view text = std::string_view(self.bytes()).substr(0, range.end);
  const size_t found = find_bytes(text, part, range.begin);
  if (found == text.npos) return Value(int64_t{-1});
  return Value(static_cast<int64_t>(count_code_points(text.substr(0, found))));
}

Value count_method(Runtime&, const Text& self, const Arguments& arguments) {
  const BoundArguments bound("count", arguments, {"sub", "start", "end"}, 1);
  const std::string& part = bound.text(0).bytes();
  const ByteRange range = search_range(self, bound);
  if (range.begin > range.end) return Value(int64_t{0});
  const std::string_view text = std::string_view(self.bytes()).substr(0, range.end);
  if (part.empty())
    return Value(static_cast<int64_t>(count_code_points(text.substr(range.begin))) + 1);
  int64_t count = 0;
  for (size_t at = find_bytes(text, part, range.begin); at != text.npos; ++count) {
    at = find_bytes(text, part, at + part.size());
  }
  return Value(count);
}

Value replace_method(Runtime& runtime, const Text& self, const Arguments& arguments) {
  const BoundArguments bound("replace", arguments, {"old", "new", "count"}, 2);
  const Text& old_text = bound.text(0);
  const Text& new_text = bound.text(1);
  int64_t left = bound.integer_or(2, -1);
  TextBuilder builder;
  size_t copied = 0;
  size_t at = left == 0 ? std::string::npos : find_bytes(self.bytes(), old_text.bytes(), 0);
  while (at != std::string::npos && left != 0) {
    builder.append(self, copied, at);
    builder.append(new_text);
    runtime.budget.work(sizeof(ByteRange));
    copied = at + old_text.size();
    --left;
    size_t next = copied;
    if (old_text.size() == 0) {  // the empty string is found before every code point and at the end
      if (at == self.size()) break;
      next_code_point(self.bytes(), next);
    }
    at = find_bytes(self.bytes(), old_text.bytes(), next);
  }
  builder.append(self, copied, self.size());
  return make_string(builder.take(), runtime.budget);
}

// Pieces between runs of whitespace, at most `limit` cuts unless it is negative.
std::vector<Value> split_whitespace(const Text& self, int64_t limit, Budget& budget) {
  std::vector<Value> pieces;
  size_t position = 0;
  while (true) {
    size_t begin = position;
    for (size_t next = begin; next < self.size() && is_space(next_code_point(self.bytes(), next));)
      begin = next;
    if (begin == self.size()) break;
    size_t end = self.size();
    position = begin;
    if (limit == 0) {
      pieces.push_back(make_string(self.slice(begin, end), budget));
      break;
    }
    for (size_t next = begin; next < self.size();) {
      const size_t start = next;
      if (!is_space(next_code_point(self.bytes(), next))) continue;
      end = start;
      break;
    }
    pieces.push_back(make_string(self.slice(begin, end), budget));
    position = end;
    --limit;
  }
  return pieces;
}

std::vector<Value> split_separator(const Text& self, const std::string& separator, int64_t limit,
                                   Budget& budget) {
  std::vector<Value> pieces;
  size_t begin = 0;
  for (; limit != 0; --limit) {
    const size_t at = find_bytes(self.bytes(), separator, begin);
    if (at == std::string::npos) break;
    pieces.push_back(make_string(self.slice(begin, at), budget));
    begin = at + separator.size();
  }
  pieces.push_back(make_string(self.slice(begin, self.size()), budget));
  return pieces;
}

Value split_method(Runtime& runtime, const Text& self, const Arguments& arguments) {
  const BoundArguments bound("split", arguments, {"sep", "maxsplit"});
  const Text* separator = bound.text_or_none(0);
  const int64_t limit = bound.integer_or(1, -1);
  runtime.budget.work(self.size());
  if (!separator) return make_list(split_whitespace(self, limit, runtime.budget), runtime.budget);
  if (separator->size() == 0) throw TemplateError("empty separator");
  return make_list(split_separator(self, separator->bytes(), limit, runtime.budget),
                   runtime.budget);
}

// With a separator that cannot overlap itself the cuts are those of split; the first pieces are
// then joined again.
Value rsplit_method(Runtime& runtime, const Text& self, const Arguments& arguments) {
  const BoundArguments bound("rsplit", arguments, {"sep", "maxsplit"}, 1);
  const std::string& separator = bound.text(0).bytes();
  const int64_t limit = bound.integer_or(1, -1);
  if (separator.empty()) throw TemplateError("empty separator");
  runtime.budget.work(self.size());
  std::vector<size_t> cuts;  // from the right
  std::string reversed_self(self.bytes().rbegin(), self.bytes().rend());
  const std::string reversed_separator(separator.rbegin(), separator.rend());
  for (size_t from = 0; limit < 0 || static_cast<int64_t>(cuts.size()) < limit;) {
    const size_t at = find_bytes(reversed_self, reversed_separator, from);
    if (at == std::string::npos) break;
    runtime.budget.work(sizeof(size_t));
    from = at + separator.size();
    cuts.push_back(self.size() - from);
  }
  std::vector<Value> pieces;
  size_t begin = 0;
  for (auto cut = cuts.rbegin(); cut != cuts.rend(); ++cut) {
    pieces.push_back(make_string(self.slice(begin, *cut), runtime.budget));
    begin = *cut + separator.size();
  }
  pieces.push_back(make_string(self.slice(begin, self.size()), runtime.budget));
  return make_list(std::move(pieces), runtime.budget);
}

Value splitlines_method(Runtime& runtime, const Text& self, const Arguments& arguments) {
  const BoundArguments bound("splitlines", arguments, {"keepends"});
  std::vector<Value> lines;
  for (const ByteRange& line : line_ranges(self.bytes(), bound.boolean_or(0, false))) {
    lines.push_back(make_string(self.slice(line.begin, line.end), runtime.budget));
  }
  return make_list(std::move(lines), runtime.budget);
}

Value join_method(Runtime& runtime, const Text& self, const Arguments& arguments) {
  const BoundArguments bound("join", arguments, {"iterable"}, 1);
  TextBuilder builder;
  bool first = true;
  for (const Value& item : iterate(bound.value(0), runtime.budget)) {
    runtime.budget.step();
    if (!item.text())
      throw TemplateError(fmt::format("join() needs strings, not '{}'", item.type_name()));
    if (!first) builder.append(self);
    first = false;
    builder.append(*item.text());
  }
  return make_string(builder.take(), runtime.budget);
}

// True when there is a code point and all of them pass.
template <bool (*predicate)(char32_t)>
Value all_method(Runtime&, const Text& self, const Arguments& arguments) {
  const BoundArguments bound("test of characters", arguments, {});
  bool all = self.size() > 0;
  for (size_t position = 0; all && position < self.size();)
    all = predicate(next_code_point(self.bytes(), position));
  return Value(all);
}

Value islower_method(Runtime&, const Text& self, const Arguments&) {
  return Value(has_case(self.bytes(), false));
}
Value isupper_method(Runtime&, const Text& self, const Arguments&) {
  return Value(has_case(self.bytes(), true));
}

constexpr Method kMethods[] = {
    {"strip", strip_method<Side::both>},
    {"lstrip", strip_method<Side::left>},
    {"rstrip", strip_method<Side::right>},
    {"upper", case_method<to_upper>},
    {"lower", case_method<to_lower>},
    {"title", case_method<to_title>},
    {"capitalize", case_method<to_capitalized>},
    {"startswith", affix_method<false>},
    {"endswith", affix_method<true>},
    {"removeprefix", remove_affix_method<false>},
    {"removesuffix", remove_affix_method<true>},
    {"find", find_method},
    {"count", count_method},
    {"replace", replace_method},
    {"split", split_method},
    {"rsplit", rsplit_method},
    {"splitlines", splitlines_method},
    {"join", join_method},
    {"isspace", all_method<is_space>},
    {"isdigit", all_method<is_decimal_digit>},
    {"isalpha", all_method<is_letter>},
    {"isalnum", all_method<is_letter_or_digit>},
    {"islower", islower_method},
    {"isupper", isupper_method},
};

const Method* find_method_entry(std::string_view name) {
  const auto* found = std::find_if(std::begin(kMethods), std::end(kMethods),
                                   [&](const Method& m) { return m.name == name; });
  return found == std::end(kMethods) ? nullptr : found;
}

}  // namespace

bool has_string_method(std::string_view name) {
  return find_method_entry(name) != nullptr;
}

Value call_string_method(Runtime& runtime, const Text& self, std::string_view name,
                         const Arguments& arguments) {
  runtime.budget.work(self.size());
  return find_method_entry(name)->function(runtime, self, arguments);
}

}  // namespace dunlin::jinja
