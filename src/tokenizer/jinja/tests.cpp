// Jinja's tests: what can follow `is`.
#include <fmt/format.h>

#include <algorithm>

#include "tokenizer/jinja/builtins.h"
#include "tokenizer/jinja/format.h"
#include "tokenizer/jinja/operators.h"
#include "tokenizer/jinja/text_case.h"

namespace dunlin::jinja {
namespace {

using Predicate = bool (*)(const Value& value);

// A test without arguments that depends on the kind of value alone.
template <Predicate predicate>
bool kind_test(Runtime&, const Value& input, const Arguments& arguments) {
  const BoundArguments bound("test", arguments, {});
  return predicate(input);
}

bool is_undefined(const Value& v) {
  return v.is_undefined();
}
bool is_defined(const Value& v) {
  return !v.is_undefined();
}
bool is_none(const Value& v) {
  return v.is_none();
}
bool is_boolean(const Value& v) {
  return v.boolean();
}
bool is_true(const Value& v) {
  return v.boolean() && *v.boolean();
}
bool is_false(const Value& v) {
  return v.boolean() && !*v.boolean();
}
bool is_integer(const Value& v) {
  return v.integer();
}
bool is_float(const Value& v) {
  return v.floating();
}
bool is_number(const Value& v) {
  return v.integer() || v.floating() || v.boolean();
}
bool is_string(const Value& v) {
  return v.text();
}
bool is_mapping(const Value& v) {
  return v.dict();
}
bool is_sequence(const Value& v) {
  return v.text() || v.dict() || (v.sequence() && v.sequence()->indexable()) || v.is_undefined();
}
bool is_callable(const Value& v) {
  if (v.method() || v.is_undefined()) return true;
  const Object* object = v.object();
  return object && object->kind != Object::Kind::name_space && object->kind != Object::Kind::cycler;
}

template <bool upper>
bool case_test(Runtime& runtime, const Value& input, const Arguments& arguments) {
  const BoundArguments bound("test", arguments, {});
  return has_case(to_text(input, runtime.budget).bytes(), upper);
}

// value % divisor == remainder
bool remainder_is(Runtime& runtime, const Value& value, const Value& divisor, int64_t remainder) {
  if (value.text()) throw TemplateError("a test of divisibility needs a number");
  const Value rest = arithmetic(Operator::modulo, value, divisor, runtime.budget);
  return equals(rest, Value(remainder), runtime.budget);
}

template <int64_t remainder>
bool parity_test(Runtime& runtime, const Value& input, const Arguments& arguments) {
  const BoundArguments bound("test", arguments, {});
  return remainder_is(runtime, input, Value(int64_t{2}), remainder);
}

bool divisibleby_test(Runtime& runtime, const Value& input, const Arguments& arguments) {
  const BoundArguments bound("divisibleby", arguments, {"num"}, 1);
  return remainder_is(runtime, input, bound.value(0), 0);
}

template <Operator op>
bool compare_test(Runtime& runtime, const Value& input, const Arguments& arguments) {
  const BoundArguments bound("comparison", arguments, {"other"}, 1);
  return compare(op, input, bound.value(0), runtime.budget);
}

// Identity: the same stored value, or equal None, True, False; small integers are one object in
// Python too.
bool sameas_test(Runtime& runtime, const Value& input, const Arguments& arguments) {
  const BoundArguments bound("sameas", arguments, {"other"}, 1);
  const Value& other = bound.value(0);
  if (input.data().index() != other.data().index()) return false;
  if (input.sequence()) return input.sequence() == other.sequence();
  if (input.dict()) return input.dict() == other.dict();
  if (input.is_undefined() || input.floating()) return false;
  return equals(input, other, runtime.budget);
}

bool filter_test(Runtime&, const Value& input, const Arguments& arguments) {
  const BoundArguments bound("filter", arguments, {});
  return input.text() && find_filter(input.text()->bytes());
}

bool test_test(Runtime&, const Value& input, const Arguments& arguments) {
  const BoundArguments bound("test", arguments, {});
  return input.text() && find_test(input.text()->bytes());
}

constexpr Test kTests[] = {
    {"defined", kind_test<is_defined>},
    {"undefined", kind_test<is_undefined>},
    {"none", kind_test<is_none>},
    {"boolean", kind_test<is_boolean>},
    {"true", kind_test<is_true>},
    {"false", kind_test<is_false>},
    {"integer", kind_test<is_integer>},
    {"float", kind_test<is_float>},
    {"number", kind_test<is_number>},
    {"string", kind_test<is_string>},
    {"mapping", kind_test<is_mapping>},
    {"sequence", kind_test<is_sequence>},
    {"iterable", kind_test<is_iterable>},
    {"callable", kind_test<is_callable>},
    {"lower", case_test<false>},
    {"upper", case_test<true>},
    {"odd", parity_test<1>},
    {"even", parity_test<0>},
    {"divisibleby", divisibleby_test},
    {"sameas", sameas_test},
    {"filter", filter_test},
    {"test", test_test},
    {"in", compare_test<Operator::in>},
    {"==", compare_test<Operator::equal>},
    {"eq", compare_test<Operator::equal>},
    {"equalto", compare_test<Operator::equal>},
    {"!=", compare_test<Operator::not_equal>},
    {"ne", compare_test<Operator::not_equal>},
    {">", compare_test<Operator::greater>},
    {"gt", compare_test<Operator::greater>},
    {"greaterthan", compare_test<Operator::greater>},
    {">=", compare_test<Operator::greater_equal>},
    {"ge", compare_test<Operator::greater_equal>},
    {"<", compare_test<Operator::less>},
    {"lt", compare_test<Operator::less>},
    {"lessthan", compare_test<Operator::less>},
    {"<=", compare_test<Operator::less_equal>},
    {"le", compare_test<Operator::less_equal>},
};

}  // namespace

const Test* find_test(std::string_view name) {
  const auto* found = std::find_if(std::begin(kTests), std::end(kTests),
                                   [&](const Test& t) { return t.name == name; });
  return found == std::end(kTests) ? nullptr : found;
}

}  // namespace dunlin::jinja
