// Filters on lists, dicts and what can be iterated.
#include <fmt/format.h>

#include <algorithm>
#include <list>
#include <unordered_set>

#include "tokenizer/jinja/builtins.h"
#include "tokenizer/jinja/format.h"
#include "tokenizer/jinja/operators.h"
#include "tokenizer/jinja/text_case.h"
#include "tokenizer/jinja/unicode.h"

namespace dunlin::jinja {
namespace {

Value make_iterator(std::vector<Value> items, Runtime& runtime) {
  return make_sequence(Sequence::Kind::iterator, std::move(items), runtime.budget);
}

Value length_filter(Runtime& runtime, const Value& input, const Arguments& arguments) {
  const BoundArguments bound("length", arguments, {});
  return Value(length(input, runtime.budget));
}

Value list_filter(Runtime& runtime, const Value& input, const Arguments& arguments) {
  const BoundArguments bound("list", arguments, {});
  return make_list(iterate(input, runtime.budget), runtime.budget);
}

Value first_filter(Runtime& runtime, const Value& input, const Arguments& arguments) {
  const BoundArguments bound("first", arguments, {});
  if (const Sequence* s = input.sequence(); s && s->kind == Sequence::Kind::iterator) {
    if (s->consumed == s->items.size())
      return Value::undefined("no first item, the sequence is empty");
    return s->items[s->consumed++];
  }
  const std::vector<Value> items = iterate(input, runtime.budget);
  return items.empty() ? Value::undefined("no first item, the sequence is empty") : items.front();
}

void require_reversible(const Value& input) {
  const bool iterator = input.sequence() && input.sequence()->kind == Sequence::Kind::iterator;
  if (iterator || input.is_undefined()) {
    throw TemplateError(fmt::format("'{}' object is not reversible", input.type_name()));
  }
}

Value last_filter(Runtime& runtime, const Value& input, const Arguments& arguments) {
  const BoundArguments bound("last", arguments, {});
  require_reversible(input);
  const std::vector<Value> items = iterate(input, runtime.budget);
  return items.empty() ? Value::undefined("no last item, the sequence is empty") : items.back();
}

Value reverse_filter(Runtime& runtime, const Value& input, const Arguments& arguments) {
  const BoundArguments bound("reverse", arguments, {});
  std::vector<Value> items = iterate(input, runtime.budget);
  std::reverse(items.begin(), items.end());
  if (!input.text()) return make_iterator(std::move(items), runtime);
  TextBuilder builder;
  for (const Value& item : items) builder.append(*item.text());
  return make_string(builder.take(), runtime.budget);
}

Value join_filter(Runtime& runtime, const Value& input, const Arguments& arguments) {
  const BoundArguments bound("join", arguments, {"d", "attribute"});
  const Text separator = bound.find(0) ? to_text(bound.value(0), runtime.budget) : Text();
  TextBuilder builder;
  bool first = true;
  for (Value item : iterate(input, runtime.budget)) {
    runtime.budget.step();
    if (bound.find(1) && !bound.value(1).is_none()) item = get_path(runtime, item, bound.value(1));
    if (!first) builder.append(separator);
    first = false;
    builder.append(to_text(item, runtime.budget));
  }
  return make_string(builder.take(), runtime.budget);
}

// map(attribute=path, default=value) or map(filter, arguments...).
Value map_filter(Runtime& runtime, const Value& input, const Arguments& arguments) {
  std::vector<Value> results;
  if (arguments.positional.empty()) {
    const BoundArguments bound("map", arguments, {"attribute", "default"}, 1);
    for (const Value& item : iterate(input, runtime.budget)) {
      Value result = get_path(runtime, item, bound.value(0));
      const bool use_default = result.is_undefined() && bound.find(1) && !bound.value(1).is_none();
      results.push_back(use_default ? bound.value(1) : std::move(result));
    }
    return make_iterator(std::move(results), runtime);
  }
  const Text* name = arguments.positional[0].text();
  if (!name) throw TemplateError("map needs the name of a filter");
  const Arguments rest{{arguments.positional.begin() + 1, arguments.positional.end()},
                       arguments.keyword};
  for (const Value& item : iterate(input, runtime.budget)) {
    results.push_back(apply_filter(runtime, name->bytes(), item, rest));
  }
  return make_iterator(std::move(results), runtime);
}

// select, reject and their ...attr forms: the items whose value passes a test, or is true when
// there is none.
template <bool wanted, bool by_attribute>
Value select_filter(Runtime& runtime, const Value& input, const Arguments& arguments) {
  constexpr size_t kTest = by_attribute ? 1 : 0;
  const auto& given = arguments.positional;
  if (by_attribute && given.empty()) throw TemplateError("missing parameter for attribute name");
  const Value* test = given.size() > kTest ? &given[kTest] : nullptr;
  if (test && !test->text()) throw TemplateError("the name of a test must be a string");
  Arguments rest{{}, arguments.keyword};
  if (test) rest.positional.assign(given.begin() + kTest + 1, given.end());
  std::vector<Value> results;
  for (const Value& item : iterate(input, runtime.budget)) {
    runtime.budget.step();
    const Value value = by_attribute ? get_path(runtime, item, given[0]) : item;
    const bool passed =
        test ? apply_test(runtime, test->text()->bytes(), value, rest) : value.truthy();
    if (passed == wanted) results.push_back(item);
  }
  return make_iterator(std::move(results), runtime);
}

std::vector<Value> dict_items(Runtime& runtime, const Dict& dict) {
  std::vector<Value> items;
  for (const auto& entry : dict.entries()) {
    items.push_back(make_sequence(Sequence::Kind::tuple, {entry.key, entry.value}, runtime.budget));
  }
  return items;
}

Value items_filter(Runtime& runtime, const Value& input, const Arguments& arguments) {
  const BoundArguments bound("items", arguments, {});
  if (input.is_undefined()) return make_iterator({}, runtime);
  if (!input.dict()) throw TemplateError("can only get item pairs from a mapping");
  return make_iterator(dict_items(runtime, *input.dict()), runtime);
}

// What sorting, unique, min and max compare: the value at `path`, strings in lower case unless
// case_sensitive.
Value sort_key(Runtime& runtime, const Value& item, const Value* path, bool case_sensitive) {
  Value key = path && !path->is_none() ? get_path(runtime, item, *path) : item;
  if (case_sensitive || !key.text()) return key;
  return make_string(to_lower(*key.text()), runtime.budget);
}

// Keys with their items. A list's merge sort is stable, and safe when NaN keys make the order
// inconsistent.
using Keyed = std::list<std::pair<Value, Value>>;

std::vector<Value> sort_by_keys(Runtime& runtime, Keyed keyed, bool reverse) {
  keyed.sort([&](const auto& a, const auto& b) {
    return reverse ? less_than(b.first, a.first, runtime.budget)
                   : less_than(a.first, b.first, runtime.budget);
  });
  std::vector<Value> sorted;
  for (auto& [key, item] : keyed) sorted.push_back(std::move(item));
  return sorted;
}

Value multi_key(Runtime& runtime, const Value& item, const Value* attribute, bool case_sensitive) {
  const Text* paths = attribute ? attribute->text() : nullptr;
  std::vector<Value> keys;
  if (!paths) {
    keys.push_back(sort_key(runtime, item, attribute, case_sensitive));
  } else {
    for (size_t begin = 0; begin <= paths->size();) {
      const size_t end = std::min(paths->bytes().find(',', begin), paths->size());
      const Value path(paths->slice(begin, end));
      keys.push_back(sort_key(runtime, item, &path, case_sensitive));
      begin = end + 1;
    }
  }
  return make_list(std::move(keys), runtime.budget);
}

Value sort_filter(Runtime& runtime, const Value& input, const Arguments& arguments) {
  const BoundArguments bound("sort", arguments, {"reverse", "case_sensitive", "attribute"});
  Keyed keyed;
  for (const Value& item : iterate(input, runtime.budget)) {
    Value key = multi_key(runtime, item, bound.find(2), bound.boolean_or(1, false));
    keyed.emplace_back(std::move(key), item);
  }
  return make_list(sort_by_keys(runtime, std::move(keyed), bound.boolean_or(0, false)),
                   runtime.budget);
}

Value dictsort_filter(Runtime& runtime, const Value& input, const Arguments& arguments) {
  const BoundArguments bound("dictsort", arguments, {"case_sensitive", "by", "reverse"});
  require_defined(input);
  if (!input.dict()) throw TemplateError("dictsort needs a mapping");
  const std::string by = bound.find(1) ? bound.text(1).bytes() : "key";
  if (by != "key" && by != "value") throw TemplateError("dictsort sorts by 'key' or 'value'");
  Keyed keyed;
  for (const Value& pair : dict_items(runtime, *input.dict())) {
    const Value& part = pair.sequence()->items[by == "key" ? 0 : 1];
    keyed.emplace_back(sort_key(runtime, part, nullptr, bound.boolean_or(0, false)), pair);
  }
  return make_list(sort_by_keys(runtime, std::move(keyed), bound.boolean_or(2, false)),
                   runtime.budget);
}

Value unique_filter(Runtime& runtime, const Value& input, const Arguments& arguments) {
  const BoundArguments bound("unique", arguments, {"case_sensitive", "attribute"});
  std::unordered_set<std::string> seen;
  std::vector<Value> results;
  for (const Value& item : iterate(input, runtime.budget)) {
    runtime.budget.step();
    const Value key = sort_key(runtime, item, bound.find(1), bound.boolean_or(0, false));
    if (seen.insert(encode_key(key, runtime.budget)).second) results.push_back(item);
  }
  return make_iterator(std::move(results), runtime);
}

template <bool largest>
Value extreme_filter(Runtime& runtime, const Value& input, const Arguments& arguments) {
  const BoundArguments bound(largest ? "max" : "min", arguments, {"case_sensitive", "attribute"});
  const std::vector<Value> items = iterate(input, runtime.budget);
  if (items.empty()) return Value::undefined("no aggregated item, the sequence is empty");
  Value best = items[0];
  Value best_key = sort_key(runtime, best, bound.find(1), bound.boolean_or(0, false));
  for (size_t i = 1; i < items.size(); ++i) {
    const Value key = sort_key(runtime, items[i], bound.find(1), bound.boolean_or(0, false));
    const bool better = largest ? less_than(best_key, key, runtime.budget)
                                : less_than(key, best_key, runtime.budget);
    if (!better) continue;
    best = items[i];
    best_key = key;
  }
  return best;
}

Value sum_filter(Runtime& runtime, const Value& input, const Arguments& arguments) {
  const BoundArguments bound("sum", arguments, {"attribute", "start"});
  Value sum = bound.find(1) ? bound.value(1) : Value(int64_t{0});
  if (sum.text()) throw TemplateError("sum cannot add strings");
  const bool by_attribute = bound.find(0) && !bound.value(0).is_none();
  for (const Value& item : iterate(input, runtime.budget)) {
    runtime.budget.step();
    const Value term = by_attribute ? get_path(runtime, item, bound.value(0)) : item;
    sum = arithmetic(Operator::add, sum, term, runtime.budget);
  }
  return sum;
}

constexpr Filter kFilters[] = {
    {"length", length_filter},
    {"count", length_filter},
    {"list", list_filter},
    {"first", first_filter},
    {"last", last_filter},
    {"reverse", reverse_filter},
    {"join", join_filter},
    {"map", map_filter},
    {"select", select_filter<true, false>},
    {"reject", select_filter<false, false>},
    {"selectattr", select_filter<true, true>},
    {"rejectattr", select_filter<false, true>},
    {"items", items_filter},
    {"sort", sort_filter},
    {"dictsort", dictsort_filter},
    {"unique", unique_filter},
    {"min", extreme_filter<false>},
    {"max", extreme_filter<true>},
    {"sum", sum_filter},
};

}  // namespace

std::span<const Filter> sequence_filters() {
  return kFilters;
}

}  // namespace dunlin::jinja
