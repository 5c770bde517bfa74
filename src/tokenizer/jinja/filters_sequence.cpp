// Filters on lists, dicts and what can be iterated, after jinja2/filters.py.
#include <fmt/format.h>

#include <algorithm>
#include <list>

#include "tokenizer/jinja/builtins.h"
#include "tokenizer/jinja/operators.h"
#include "tokenizer/jinja/print.h"
#include "tokenizer/jinja/text_functions.h"

namespace dunlin::jinja {
namespace {

Value first_filter(Call& c) {
  if (const Sequence* s = c.self.sequence();
      s && s->kind == Sequence::Kind::iterator && s->consumed < s->items.size())
    return s->items[s->consumed++];
  const std::vector<Value> items = c.items();
  return items.empty() ? Value::undefined("no first item, the sequence is empty") : items.front();
}

Value last_filter(Call& c) {
  const bool iterator = c.self.sequence() && c.self.sequence()->kind == Sequence::Kind::iterator;
  if (iterator || c.self.is_undefined())
    throw TemplateError(fmt::format("'{}' object is not reversible", c.self.type_name()));
  const std::vector<Value> items = c.items();
  return items.empty() ? Value::undefined("no last item, the sequence is empty") : items.back();
}

Value reverse_filter(Call& c) {
  std::vector<Value> items = c.items();
  std::reverse(items.begin(), items.end());
  if (!c.self.text()) return c.runtime.iterator(std::move(items));
  TextBuilder builder;
  for (const Value& item : items) builder.append(*item.text());
  return c.runtime.string(builder.take());
}

Value join_filter(Call& c) {
  const Text separator = c.find(0) ? to_text(*c.find(0), c.runtime) : Text();
  TextBuilder builder;
  bool first = true;
  for (Value item : c.items()) {
    c.runtime.step();
    if (c.find(1)) item = get_path(c.runtime, item, *c.find(1));
    if (!std::exchange(first, false)) builder.append(separator);
    builder.append(to_text(item, c.runtime));
  }
  return c.runtime.string(builder.take());
}

// The builtin that an argument of map or select names, and the arguments behind its name.
const Builtin& named(const Value& name, const Builtin* (*find)(std::string_view),
                     std::string_view kind) {
  const Builtin* builtin = name.text() ? find(name.text()->bytes()) : nullptr;
  if (builtin) return *builtin;
  throw TemplateError(fmt::format("no {} named '{:.100}'", kind,
                                  name.text() ? name.text()->bytes() : name.type_name()));
}

Arguments arguments_behind(Call& c, size_t count) {
  const auto& [positional, keyword] = c.arguments;
  c.runtime.work(positional.size() * sizeof(Value));
  const auto begin = positional.begin() + static_cast<std::ptrdiff_t>(count);
  return {{begin, positional.end()}, keyword};
}

// map(attribute=path, default=value) or map(filter, arguments...). Python's generators do not look at
// their arguments before they have an item.
Value map_filter(Call& c) {
  std::vector<Value> results;
  if (!c.self.truthy()) return c.runtime.iterator({});
  if (!c.arguments.positional.empty()) {
    const Builtin& filter = named(c.arguments.positional[0], find_filter, "filter");
    const Arguments rest = arguments_behind(c, 1);
    for (const Value& item : c.items())
      results.push_back(run_builtin(filter, c.runtime, item, rest));
    return c.runtime.iterator(std::move(results));
  }
  static constexpr Builtin kByAttribute = {"map", {"attribute", "default"}, 1, nullptr};
  const Call by_attribute(kByAttribute, c.runtime, c.self, c.arguments);
  for (const Value& item : c.items()) {
    Value result = get_path(c.runtime, item, by_attribute.value(0));
    const bool use_default = result.is_undefined() && by_attribute.find(1);
    results.push_back(use_default ? by_attribute.value(1) : std::move(result));
  }
  return c.runtime.iterator(std::move(results));
}

// select, reject and their ...attr forms: the items whose value passes a test, or is true when
// there is none.
template <bool wanted, bool by_attribute>
Value select_filter(Call& c) {
  constexpr size_t kTest = by_attribute ? 1 : 0;
  const auto& given = c.arguments.positional;
  if (!c.self.truthy()) return c.runtime.iterator({});
  if (given.size() < kTest) throw TemplateError("missing parameter for attribute name");
  const Builtin* test = given.size() > kTest ? &named(given[kTest], find_test, "test") : nullptr;
  const Arguments rest = test ? arguments_behind(c, kTest + 1) : Arguments();
  std::vector<Value> results;
  for (const Value& item : c.items()) {
    c.runtime.step();
    const Value value = by_attribute ? get_path(c.runtime, item, given[0]) : item;
    const Value passed = test ? run_builtin(*test, c.runtime, value, rest) : value;
    if (passed.truthy() == wanted) results.push_back(item);
  }
  return c.runtime.iterator(std::move(results));
}

// The pairs of a dict, as dict.items() and the filters on dicts give them.
std::vector<Value> pairs(Call& c) {
  std::vector<Value> items;
  if (c.self.is_undefined()) return items;
  if (!c.self.dict()) throw TemplateError("can only get item pairs from a mapping");
  for (const auto& [key, value] : c.self.dict()->entries())
    items.push_back(c.runtime.pair(key, value));
  return items;
}

// What sorting, unique, min and max compare: strings in lower case unless case_sensitive.
Value fold_case(Call& c, const Value& key, bool case_sensitive) {
  if (case_sensitive || !key.text()) return key;
  c.runtime.work(key.text()->size());
  return c.runtime.string(to_lower(*key.text()));
}

// The same of the item's attribute `path`, or of the item without one.
Value key_of(Call& c, const Value& item, const Value* path, bool case_sensitive) {
  return fold_case(c, path ? get_path(c.runtime, item, *path) : item, case_sensitive);
}

// `items` in the order of `key(item)`. A list's merge sort is stable, and safe when NaN keys make the
// order inconsistent.
template <typename Key>
Value sorted(Call& c, const std::vector<Value>& items, bool reverse, Key key) {
  std::list<std::pair<Value, Value>> keyed;
  for (const Value& item : items) keyed.emplace_back(key(item), item);
  keyed.sort([&](const auto& a, const auto& b) {
    return reverse ? less_than(b.first, a.first, c.runtime)
                   : less_than(a.first, b.first, c.runtime);
  });
  std::vector<Value> result;
  for (auto& [of_item, item] : keyed) result.push_back(std::move(item));
  return c.runtime.list(std::move(result));
}

// By one path, or by several with commas between.
Value sort_filter(Call& c) {
  const bool case_sensitive = c.is_true(1);
  const Value* attribute = c.find(2);
  const bool several =
      attribute && attribute->text() && attribute->text()->bytes().find(',') != std::string::npos;
  return sorted(c, c.items(), c.is_true(0), [&](const Value& item) {
    if (!several) return key_of(c, item, attribute, case_sensitive);
    const Text& paths = *attribute->text();
    std::vector<Value> keys;
    for (size_t begin = 0; begin <= paths.size();) {
      const size_t end = std::min(paths.bytes().find(',', begin), paths.size());
      const Value path = c.runtime.string(paths.slice(begin, end));
      keys.push_back(key_of(c, item, &path, case_sensitive));
      begin = end + 1;
    }
    return c.runtime.list(std::move(keys));
  });
}

Value dictsort_filter(Call& c) {
  c.self.require_defined();
  const std::string by = c.find(1) ? c.text(1).bytes() : "key";
  if (by != "key" && by != "value") throw TemplateError("dictsort sorts by 'key' or 'value'");
  return sorted(c, pairs(c), c.is_true(2), [&](const Value& item) {
    return fold_case(c, item.sequence()->items[by == "key" ? 0 : 1], c.is_true(0));
  });
}

Value unique_filter(Call& c) {
  Dict seen;
  std::vector<Value> results;
  for (const Value& item : c.items()) {
    Value key = key_of(c, item, c.find(1), c.is_true(0));
    if (seen.find(key, c.runtime)) continue;
    seen.set(std::move(key), Value(), c.runtime);
    results.push_back(item);
  }
  return c.runtime.iterator(std::move(results));
}

template <bool largest>
Value extreme_filter(Call& c) {
  Value best = Value::undefined("no aggregated item, the sequence is empty");
  Value best_key;
  bool first = true;
  for (const Value& item : c.items()) {
    Value key = key_of(c, item, c.find(1), c.is_true(0));
    const bool better = first || (largest ? less_than(best_key, key, c.runtime)
                                          : less_than(key, best_key, c.runtime));
    first = false;
    if (!better) continue;
    best = item;
    best_key = std::move(key);
  }
  return best;
}

Value sum_filter(Call& c) {
  Value sum = c.given(1) ? c.value(1) : Value(int64_t{0});
  if (sum.text()) throw TemplateError("sum cannot add strings");
  for (const Value& item : c.items()) {
    c.runtime.step();
    const Value term = c.find(0) ? get_path(c.runtime, item, *c.find(0)) : item;
    sum = arithmetic(Operator::add, sum, term, c.runtime);
  }
  return sum;
}

constexpr Builtin kSequenceFilters[] = {
    {"length", {}, 0, [](Call& c) { return Value(length(c.self, c.runtime)); }},
    {"count", {}, 0, [](Call& c) { return Value(length(c.self, c.runtime)); }},
    {"list", {}, 0, [](Call& c) { return c.runtime.list(c.items()); }},
    {"first", {}, 0, first_filter},
    {"last", {}, 0, last_filter},
    {"reverse", {}, 0, reverse_filter},
    {"join", {"d", "attribute"}, 0, join_filter},
    {"map", {"*"}, 0, map_filter},
    {"select", {"*"}, 0, select_filter<true, false>},
    {"reject", {"*"}, 0, select_filter<false, false>},
    {"selectattr", {"*"}, 0, select_filter<true, true>},
    {"rejectattr", {"*"}, 0, select_filter<false, true>},
    {"items", {}, 0, [](Call& c) { return c.runtime.iterator(pairs(c)); }},
    {"sort", {"reverse", "case_sensitive", "attribute"}, 0, sort_filter},
    {"dictsort", {"case_sensitive", "by", "reverse"}, 0, dictsort_filter},
    {"unique", {"case_sensitive", "attribute"}, 0, unique_filter},
    {"min", {"case_sensitive", "attribute"}, 0, extreme_filter<false>},
    {"max", {"case_sensitive", "attribute"}, 0, extreme_filter<true>},
    {"sum", {"attribute", "start"}, 0, sum_filter},
};

}  // namespace

const Builtin* find_sequence_filter(std::string_view name) {
  return find_builtin(kSequenceFilters, name);
}

}  // namespace dunlin::jinja
