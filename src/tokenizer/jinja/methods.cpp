// Methods of Python's str, keeping the origin of every byte, and of dict, loop and cycler.
#include <fmt/format.h>

#include <algorithm>

#include "tokenizer/jinja/builtins.h"
#include "tokenizer/jinja/operators.h"
#include "tokenizer/jinja/text_functions.h"

namespace dunlin::jinja {
namespace {

const Text& self_of(const Call& c) {
  c.runtime.work(c.self.text()->size());
  return *c.self.text();
}

template <Side side>
Value strip_method(Call& c) {
  const std::string* characters = c.find(0) ? &c.text(0).bytes() : nullptr;
  if (characters) c.runtime.work(characters->size() * sizeof(char32_t));
  return c.runtime.string(strip(self_of(c), characters, side));
}

template <Text (*change)(const Text&)>
Value case_method(Call& c) {
  return c.runtime.string(change(self_of(c)));
}

// The bytes between the code point positions start and end, arguments 1 and 2; nothing, not even an
// empty string, when start is behind end.
std::optional<ByteRange> search_range(Call& c, const Text& self) {
  if (!c.find(1) && !c.find(2)) return ByteRange{0, self.size()};
  const auto count = static_cast<int64_t>(count_code_points(self.bytes()));
  const auto place = [&](size_t parameter, int64_t fallback) {
    const int64_t position = c.integer_or(parameter, fallback);
    return position < 0 ? std::max<int64_t>(position + count, 0) : position;
  };
  const int64_t start = place(1, 0);
  const int64_t end = std::min(place(2, count), count);
  if (start > end) return std::nullopt;
  return ByteRange{byte_offset(self.bytes(), static_cast<size_t>(start)),
                   byte_offset(self.bytes(), static_cast<size_t>(end))};
}

template <bool at_end>
bool has_affix(std::string_view text, std::string_view affix) {
  return at_end ? text.ends_with(affix) : text.starts_with(affix);
}

// The affix, or a tuple of which one suffices.
template <bool at_end>
Value affix_method(Call& c) {
  const Text& text = self_of(c);
  const auto range = search_range(c, text);
  if (!range) return Value(false);
  const auto self = std::string_view(text.bytes()).substr(range->begin, range->end - range->begin);
  const Sequence* choices = c.value(0).sequence();
  if (!choices || choices->kind != Sequence::Kind::tuple)
    return Value(has_affix<at_end>(self, c.text(0).bytes()));
  return Value(std::any_of(choices->items.begin(), choices->items.end(), [&](const Value& choice) {
    c.runtime.step();
    if (!choice.text()) throw TemplateError("the tuple of affixes holds something else");
    c.runtime.work(std::min(self.size(), choice.text()->size()));
    return has_affix<at_end>(self, choice.text()->bytes());
  }));
}

template <bool at_end>
Value remove_affix_method(Call& c) {
  const Text& self = self_of(c);
  const std::string& affix = c.text(0).bytes();
  if (!has_affix<at_end>(self.bytes(), affix)) return c.self;
  const size_t kept = self.size() - affix.size();
  return c.runtime.string(at_end ? self.slice(0, kept) : self.slice(affix.size(), self.size()));
}

// Where `part` begins, at most `limit` times from the left; they do not overlap. An empty one is found
// before every code point and at the end.
std::vector<size_t> find_all(Call& c, std::string_view text, std::string_view part, int64_t limit) {
  std::vector<size_t> found;
  for (size_t from = 0; static_cast<int64_t>(found.size()) != limit;) {
    const size_t at = find_bytes(text, part, from);
    if (at == text.npos) break;
    c.runtime.work(sizeof(size_t));
    found.push_back(at);
    from = at + part.size();
    if (part.empty() && from == text.size()) break;
    if (part.empty()) next_code_point(text, from);
  }
  return found;
}

Value find_part_method(Call& c) {
  const Text& self = self_of(c);
  const auto range = search_range(c, self);
  if (!range) return Value(int64_t{-1});
  const auto text = std::string_view(self.bytes()).substr(0, range->end);
  const size_t found = find_bytes(text, c.text(0).bytes(), range->begin);
  if (found == text.npos) return Value(int64_t{-1});
  return Value(static_cast<int64_t>(count_code_points(text.substr(0, found))));
}

Value count_method(Call& c) {
  const Text& self = self_of(c);
  const auto range = search_range(c, self);
  if (!range) return Value(int64_t{0});
  const auto text = std::string_view(self.bytes()).substr(range->begin, range->end - range->begin);
  return Value(static_cast<int64_t>(find_all(c, text, c.text(0).bytes(), -1).size()));
}

Value replace_method(Call& c) {
  const Text& self = self_of(c);
  const Text& part = c.text(0);
  TextBuilder builder;
  size_t copied = 0;
  for (const size_t at : find_all(c, self.bytes(), part.bytes(), c.integer_or(2, -1))) {
    builder.append(self, copied, at);
    builder.append(c.text(1));
    copied = at + part.size();
  }
  builder.append(self, copied, self.size());
  return c.runtime.string(builder.take());
}

// The pieces of a text without the parts of `length` bytes at `cuts`, which are in order.
Value pieces(Call& c, const std::vector<size_t>& cuts, size_t length) {
  const Text& self = *c.self.text();
  std::vector<Value> items;
  size_t begin = 0;
  for (const size_t cut : cuts) {
    items.push_back(c.runtime.string(self.slice(begin, cut)));
    begin = cut + length;
  }
  items.push_back(c.runtime.string(self.slice(begin, self.size())));
  return c.runtime.list(std::move(items));
}

// Pieces between runs of whitespace, at most `limit` cuts unless it is negative.
Value split_whitespace(Call& c, int64_t limit) {
  const Text& self = self_of(c);
  std::vector<Value> items;
  size_t begin = self.size();  // of the piece, self.size() between pieces
  const auto add = [&](size_t end) {
    items.push_back(c.runtime.string(self.slice(begin, end)));
    begin = self.size();
    --limit;
  };
  for (size_t position = 0; position < self.size();) {
    const size_t at = position;
    const bool space = is_space(next_code_point(self.bytes(), position));
    if (space && begin < self.size() && limit != 0) add(at);
    if (!space && begin == self.size()) begin = at;
  }
  if (begin < self.size()) add(self.size());
  return c.runtime.list(std::move(items));
}

Value split_method(Call& c) {
  const int64_t limit = c.integer_or(1, -1);
  if (!c.find(0)) return split_whitespace(c, limit);
  const std::string& separator = c.text(0).bytes();
  if (separator.empty()) throw TemplateError("empty separator");
  return pieces(c, find_all(c, self_of(c).bytes(), separator, limit), separator.size());
}

// As split, but the cuts are looked for from the right.
Value rsplit_method(Call& c) {
  const std::string& self = self_of(c).bytes();
  const std::string& separator = c.text(0).bytes();
  if (separator.empty()) throw TemplateError("empty separator");
  c.runtime.work(separator.size());
  const std::string reversed_self(self.rbegin(), self.rend());
  const std::string reversed_separator(separator.rbegin(), separator.rend());
  std::vector<size_t> cuts = find_all(c, reversed_self, reversed_separator, c.integer_or(1, -1));
  for (size_t& cut : cuts) cut = self.size() - cut - separator.size();
  std::reverse(cuts.begin(), cuts.end());
  return pieces(c, cuts, separator.size());
}

Value join_method(Call& c) {
  TextBuilder builder;
  bool first = true;
  for (const Value& item : iterate(c.value(0), c.runtime)) {
    c.runtime.step();
    if (!item.text())
      throw TemplateError(fmt::format("join() needs strings, not '{}'", item.type_name()));
    if (!std::exchange(first, false)) builder.append(*c.self.text());
    builder.append(*item.text());
  }
  return c.runtime.string(builder.take());
}

Value splitlines_method(Call& c) {
  const Text& self = self_of(c);
  std::vector<Value> lines;
  for (const ByteRange& line : split_lines(self.bytes(), c.is_true(0)))
    lines.push_back(c.runtime.string(self.slice(line.begin, line.end)));
  return c.runtime.list(std::move(lines));
}

// True when there is a code point and all of them pass.
template <bool (*predicate)(char32_t)>
Value all_method(Call& c) {
  const std::string& self = self_of(c).bytes();
  bool all = !self.empty();
  for (size_t position = 0; all && position < self.size();)
    all = predicate(next_code_point(self, position));
  return Value(all);
}

constexpr Builtin kStringMethods[] = {
    {"strip", {"chars"}, 0, strip_method<Side::both>},
    {"lstrip", {"chars"}, 0, strip_method<Side::left>},
    {"rstrip", {"chars"}, 0, strip_method<Side::right>},
    {"upper", {}, 0, case_method<to_upper>},
    {"lower", {}, 0, case_method<to_lower>},
    {"title", {}, 0, case_method<to_title>},
    {"capitalize", {}, 0, case_method<to_capitalized>},
    {"startswith", {"prefix", "start", "end"}, 1, affix_method<false>},
    {"endswith", {"suffix", "start", "end"}, 1, affix_method<true>},
    {"removeprefix", {"prefix"}, 1, remove_affix_method<false>},
    {"removesuffix", {"suffix"}, 1, remove_affix_method<true>},
    {"find", {"sub", "start", "end"}, 1, find_part_method},
    {"count", {"sub", "start", "end"}, 1, count_method},
    {"replace", {"old", "new", "count"}, 2, replace_method},
    {"split", {"sep", "maxsplit"}, 0, split_method},
    {"rsplit", {"sep", "maxsplit"}, 1, rsplit_method},
    {"join", {"iterable"}, 1, join_method},
    {"splitlines", {"keepends"}, 0, splitlines_method},
    {"isdigit", {}, 0, all_method<is_decimal_digit>},
    {"isalpha", {}, 0, all_method<is_letter>},
    {"isalnum", {}, 0, all_method<is_letter_or_digit>},
    {"isspace", {}, 0, all_method<is_space>},
    {"islower", {}, 0, [](Call& c) { return Value(has_case(self_of(c).bytes(), false)); }},
    {"isupper", {}, 0, [](Call& c) { return Value(has_case(self_of(c).bytes(), true)); }},
};

// What dict.keys(), values() and items() give.
template <bool keys, bool values>
Value view_method(Call& c) {
  std::vector<Value> items;
  c.runtime.work(c.self.dict()->entries().size() * sizeof(Value));
  for (const auto& [key, value] : c.self.dict()->entries())
    items.push_back(keys && values ? c.runtime.pair(key, value) : keys ? key : value);
  const char* label = keys && values ? "dict_items" : keys ? "dict_keys" : "dict_values";
  return c.runtime.sequence(Sequence::Kind::view, std::move(items), label);
}

Value get_method(Call& c) {
  const Value* found = c.self.dict()->find(c.value(0), c.runtime);
  return found ? *found : c.value(1);
}

constexpr Builtin kDictMethods[] = {
    {"items", {}, 0, view_method<true, true>},
    {"keys", {}, 0, view_method<true, false>},
    {"values", {}, 0, view_method<false, true>},
    {"get", {"key", "default"}, 1, get_method},
};

Value cycle_method(Call& c) {
  const auto& items = c.arguments.positional;
  if (items.empty()) throw TemplateError("no items for cycling given");
  return items[static_cast<LoopObject*>(c.self.object())->index % items.size()];
}

// Whether the arguments are not those of the call before.
Value changed_method(Call& c) {
  auto& seen = static_cast<LoopObject*>(c.self.object())->seen;
  const auto& now = c.arguments.positional;
  const bool same =
      seen && std::equal(seen->begin(), seen->end(), now.begin(), now.end(),
                         [&](const Value& a, const Value& b) { return equals(a, b, c.runtime); });
  if (!same) seen = now;
  return Value(!same);
}

constexpr Builtin kLoopMethods[] = {
    {"cycle", {"*"}, 0, cycle_method},
    {"changed", {"*"}, 0, changed_method},
};

Value next_method(Call& c) {
  auto& cycler = *static_cast<CyclerObject*>(c.self.object());
  const size_t index = std::exchange(cycler.index, (cycler.index + 1) % cycler.items.size());
  return cycler.items[index];
}

Value reset_method(Call& c) {
  static_cast<CyclerObject*>(c.self.object())->index = 0;
  return Value();
}

constexpr Builtin kCyclerMethods[] = {
    {"next", {}, 0, next_method},
    {"reset", {}, 0, reset_method},
};

}  // namespace

const Builtin* find_method(const Value& self, std::string_view name) {
  if (self.text()) return find_builtin(kStringMethods, name);
  if (self.dict()) return find_builtin(kDictMethods, name);
  if (!self.object()) return nullptr;
  if (self.object()->kind == Object::Kind::loop) return find_builtin(kLoopMethods, name);
  if (self.object()->kind == Object::Kind::cycler) return find_builtin(kCyclerMethods, name);
  return nullptr;
}

}  // namespace dunlin::jinja
