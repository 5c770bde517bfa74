// Equality, order and membership, after Python's rich comparisons.
#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "tokenizer/jinja/operators.h"
#include "tokenizer/jinja/text_search.h"

namespace dunlin::jinja {
namespace {

// Every 64-bit integer and every double is exact in a long double of 64 or more mantissa bits.
std::optional<long double> as_number(const Value& value) {
  if (value.integer()) return static_cast<long double>(*value.integer());
  if (value.boolean()) return *value.boolean() ? 1.0L : 0.0L;
  if (value.floating()) return static_cast<long double>(*value.floating());
  return std::nullopt;
}

bool equal_sequences(const Sequence& left, const Sequence& right, Budget& budget) {
  if (left.kind != right.kind || left.kind == Sequence::Kind::iterator) return &left == &right;
  if (left.items.size() != right.items.size()) return false;
  for (size_t i = 0; i < left.items.size(); ++i) {
    if (!equals(left.items[i], right.items[i], budget)) return false;
  }
  return true;
}

bool equal_dicts(const Dict& left, const Dict& right, Budget& budget) {
  if (left.size() != right.size()) return false;
  for (const auto& entry : left.entries()) {
    const Value* other = right.find(entry.key, budget);
    if (!other || !equals(entry.value, *other, budget)) return false;
  }
  return true;
}

bool sequence_less(const Sequence& left, const Sequence& right, Budget& budget) {
  const size_t common = std::min(left.items.size(), right.items.size());
  for (size_t i = 0; i < common; ++i) {
    if (!equals(left.items[i], right.items[i], budget))
      return less_than(left.items[i], right.items[i], budget);
  }
  return left.items.size() < right.items.size();
}

bool contains(const Value& container, const Value& item, Budget& budget) {
  if (const Text* text = container.text()) {
    require_defined(item);
    const Text* part = item.text();
    if (!part) {
      throw TemplateError(
          fmt::format("'in <string>' needs a string on its left, not '{}'", item.type_name()));
    }
    budget.work(text->size());
    return find_bytes(text->bytes(), part->bytes(), 0) != std::string::npos;
  }
  if (const Dict* dict = container.dict()) return dict->find(item, budget) != nullptr;
  if (const Sequence* s = container.sequence(); s && s->kind != Sequence::Kind::iterator) {
    return std::any_of(s->items.begin(), s->items.end(),
                       [&](const Value& other) { return equals(other, item, budget); });
  }
  if (!container.is_undefined() && !container.sequence()) {
    throw TemplateError(
        fmt::format("argument of type '{}' is not iterable", container.type_name()));
  }
  const std::vector<Value> items = iterate(container, budget);
  return std::any_of(items.begin(), items.end(),
                     [&](const Value& other) { return equals(other, item, budget); });
}

}  // namespace

bool equals(const Value& left, const Value& right, Budget& budget) {
  budget.step();
  const auto left_number = as_number(left);
  const auto right_number = as_number(right);
  if (left_number || right_number)
    return left_number && right_number && *left_number == *right_number;
  if (left.data().index() != right.data().index()) return false;
  if (left.is_none() || left.is_undefined()) return true;
  if (const Text* text = left.text()) {
    if (text->size() != right.text()->size()) return false;
    budget.work(text->size());
    return text->bytes() == right.text()->bytes();
  }
  if (const Sequence* s = left.sequence()) return equal_sequences(*s, *right.sequence(), budget);
  if (const Dict* d = left.dict()) return equal_dicts(*d, *right.dict(), budget);
  if (left.method()) return left.method() == right.method();
  return left.object() == right.object();
}

bool less_than(const Value& left, const Value& right, Budget& budget) {
  budget.step();
  const auto left_number = as_number(left);
  const auto right_number = as_number(right);
  if (left_number && right_number) return *left_number < *right_number;
  if (left.text() && right.text()) {
    budget.work(std::min(left.text()->size(), right.text()->size()));
    return left.text()->bytes() <
           right.text()->bytes();  // the order of UTF-8 bytes is that of code points
  }
  const Sequence* a = left.sequence();
  const Sequence* b = right.sequence();
  if (a && b && a->kind == b->kind && a->kind <= Sequence::Kind::tuple)
    return sequence_less(*a, *b, budget);
  require_defined(left);
  require_defined(right);
  throw TemplateError(
      fmt::format("'<' not supported between '{}' and '{}'", left.type_name(), right.type_name()));
}

bool compare(Operator op, const Value& left, const Value& right, Budget& budget) {
  const auto number = [](const Value& value) {
    return value.floating() && *value.floating() != *value.floating();
  };
  const bool ordered = !number(left) && !number(right);  // no order with a NaN
  switch (op) {
    case Operator::equal:
      return equals(left, right, budget);
    case Operator::not_equal:
      return !equals(left, right, budget);
    case Operator::less:
      return less_than(left, right, budget);
    case Operator::greater:
      return less_than(right, left, budget);
    case Operator::less_equal:
      return !less_than(right, left, budget) && ordered;
    case Operator::greater_equal:
      return !less_than(left, right, budget) && ordered;
    case Operator::in:
      return contains(right, left, budget);
    default:
      return !contains(right, left, budget);
  }
}

}  // namespace dunlin::jinja
