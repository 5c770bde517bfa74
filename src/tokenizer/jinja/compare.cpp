// Equality, order and membership, after Python's rich comparisons.
#include <fmt/format.h>

#include <algorithm>

#include "tokenizer/jinja/operators.h"
#include "tokenizer/jinja/text_functions.h"

namespace dunlin::jinja {
namespace {

bool equal_sequences(const Sequence& left, const Sequence& right, Runtime& runtime) {
  if (left.kind != right.kind || left.kind == Sequence::Kind::iterator) return &left == &right;
  return std::equal(left.items.begin(), left.items.end(), right.items.begin(), right.items.end(),
                    [&](const Value& a, const Value& b) { return equals(a, b, runtime); });
}

bool equal_dicts(const Dict& left, const Dict& right, Runtime& runtime) {
  const auto& entries = left.entries();
  return entries.size() == right.entries().size() &&
         std::all_of(entries.begin(), entries.end(), [&](const Dict::Entry& entry) {
           const Value* other = right.find(entry.key, runtime);
           return other && equals(entry.value, *other, runtime);
         });
}

bool sequence_less(const Sequence& left, const Sequence& right, Runtime& runtime) {
  const size_t common = std::min(left.items.size(), right.items.size());
  for (size_t i = 0; i < common; ++i) {
    if (!equals(left.items[i], right.items[i], runtime))
      return less_than(left.items[i], right.items[i], runtime);
  }
  return left.items.size() < right.items.size();
}

bool contains(const Value& container, const Value& item, Runtime& runtime) {
  if (const Text* text = container.text()) {
    item.require_defined();
    const Text* part = item.text();
    if (!part) {
      throw TemplateError(
          fmt::format("'in <string>' needs a string on its left, not '{}'", item.type_name()));
    }
    runtime.work(text->size());
    return find_bytes(text->bytes(), part->bytes(), 0) != std::string::npos;
  }
  if (const Dict* dict = container.dict()) return dict->find(item, runtime) != nullptr;
  const auto is_item = [&](const Value& other) { return equals(other, item, runtime); };
  if (const Sequence* s = container.sequence(); s && s->kind != Sequence::Kind::iterator)
    return std::any_of(s->items.begin(), s->items.end(), is_item);
  if (!is_iterable(container)) {
    throw TemplateError(
        fmt::format("argument of type '{}' is not iterable", container.type_name()));
  }
  const std::vector<Value> items = iterate(container, runtime);
  return std::any_of(items.begin(), items.end(), is_item);
}

}  // namespace

bool equals(const Value& left, const Value& right, Runtime& runtime) {
  runtime.step();
  const auto left_number = left.as_number();
  const auto right_number = right.as_number();
  if (left_number || right_number)
    return left_number && right_number && *left_number == *right_number;
  if (left.type() != right.type()) return false;
  if (const Text* text = left.text()) {
    if (text->size() != right.text()->size()) return false;
    runtime.work(text->size());
    return text->bytes() == right.text()->bytes();
  }
  if (const Sequence* s = left.sequence()) return equal_sequences(*s, *right.sequence(), runtime);
  if (const Dict* d = left.dict()) return equal_dicts(*d, *right.dict(), runtime);
  return left.method() == right.method() && left.function() == right.function() &&
         left.object() == right.object();  // None and Undefined have none of them
}

bool less_than(const Value& left, const Value& right, Runtime& runtime) {
  runtime.step();
  const auto left_number = left.as_number();
  const auto right_number = right.as_number();
  if (left_number && right_number) return *left_number < *right_number;
  if (left.text() && right.text()) {  // the order of UTF-8 bytes is that of code points
    runtime.work(std::min(left.text()->size(), right.text()->size()));
    return left.text()->bytes() < right.text()->bytes();
  }
  const Sequence* a = left.sequence();
  const Sequence* b = right.sequence();
  if (a && b && a->kind == b->kind && a->is_list_or_tuple()) return sequence_less(*a, *b, runtime);
  left.require_defined();
  right.require_defined();
  throw TemplateError(
      fmt::format("'<' not supported between '{}' and '{}'", left.type_name(), right.type_name()));
}

bool compare(Operator op, const Value& left, const Value& right, Runtime& runtime) {
  const auto is_nan = [](const Value& value) {
    return value.floating() && *value.floating() != *value.floating();
  };
  const bool ordered = !is_nan(left) && !is_nan(right);
  switch (op) {
    case Operator::equal:
      return equals(left, right, runtime);
    case Operator::not_equal:
      return !equals(left, right, runtime);
    case Operator::less:
      return less_than(left, right, runtime);
    case Operator::greater:
      return less_than(right, left, runtime);
    case Operator::less_equal:
      return !less_than(right, left, runtime) && ordered;
    case Operator::greater_equal:
      return !less_than(left, right, runtime) && ordered;
    case Operator::in:
      return contains(right, left, runtime);
    default:
      return !contains(right, left, runtime);
  }
}

}  // namespace dunlin::jinja
