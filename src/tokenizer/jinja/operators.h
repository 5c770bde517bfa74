// Python's operators on values, and access to attributes and items as Jinja resolves it.
#pragma once

#include "tokenizer/jinja/runtime.h"
#include "tokenizer/jinja/value.h"

namespace dunlin::jinja {

enum class Operator {
  add,
  subtract,
  multiply,
  divide,
  floor_divide,
  modulo,
  power,
  equal,
  not_equal,
  less,
  less_equal,
  greater,
  greater_equal,
  in,
  not_in,
  concat,
  logical_and,
  logical_or
};

// +, -, *, /, //, % (of a string: its printf-style formatting), **. Integers are 64 bits: an overflow throws.
Value arithmetic(Operator op, const Value& left, const Value& right, Runtime& runtime);
Value negate(const Value& value);
Value unary_plus(const Value& value);

bool equals(const Value& left, const Value& right, Runtime& runtime);
// left < right; throws for types without an order.
bool less_than(const Value& left, const Value& right, Runtime& runtime);
// ==, !=, <, <=, >, >=, in, not in.
bool compare(Operator op, const Value& left, const Value& right, Runtime& runtime);

// object.name: a method or an object's attribute first, then an item. Undefined when there is
// neither; an error for Python's internal names (__class__ ...), which no template may reach.
Value get_attribute(Runtime& runtime, const Value& object, const std::string& name);
// object[key]: an item first, then for a string key a method.
Value get_item(Runtime& runtime, const Value& object, const Value& key);
// object[start:stop:step]; None stands for an absent part.
Value get_slice(Runtime& runtime, const Value& object, const Value& start, const Value& stop,
                const Value& step);
// The item that a dotted path names ("function.name", "0.role"), as the filters' attribute= takes
// it.
Value get_path(Runtime& runtime, Value object, const Value& path);

}  // namespace dunlin::jinja
