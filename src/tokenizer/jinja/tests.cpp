// Tests: what can follow `is`.
#include "tokenizer/jinja/builtins.h"
#include "tokenizer/jinja/operators.h"
#include "tokenizer/jinja/text_functions.h"

namespace dunlin::jinja {
namespace {

// A test that depends on the kind of value alone.
template <auto predicate>
Value kind_test(Call& c) {
  return Value(static_cast<bool>(predicate(c.self)));
}

template <Operator op>
Value compare_test(Call& c) {
  return Value(compare(op, c.self, c.value(0), c.runtime));
}

// Whether value % divisor is `remainder`; strings, which % formats, have none.
Value remainder_test(Call& c, const Value& divisor, int64_t remainder) {
  if (c.self.text()) throw TemplateError("a test of divisibility needs a number");
  const Value rest = arithmetic(Operator::modulo, c.self, divisor, c.runtime);
  return Value(equals(rest, Value(remainder), c.runtime));
}

template <int64_t remainder>
Value parity_test(Call& c) {
  return remainder_test(c, Value(int64_t{2}), remainder);
}

template <bool upper>
Value case_test(Call& c) {
  return Value(has_case(c.self_text().bytes(), upper));
}

// Identity: the same stored value; of None, bools, ints and strings equal ones.
Value sameas_test(Call& c) {
  const Value other = c.value(0);
  if (c.self.type() != other.type() || c.self.is_undefined() || c.self.floating())
    return Value(false);
  if (c.self.sequence()) return Value(c.self.sequence() == other.sequence());
  if (c.self.dict()) return Value(c.self.dict() == other.dict());
  return Value(equals(c.self, other, c.runtime));
}

template <const Builtin* (*find)(std::string_view)>
Value name_test(Call& c) {
  return Value(c.self.text() && find(c.self.text()->bytes()) != nullptr);
}

bool is_sequence(const Value& v) {
  return v.text() || v.dict() || (v.sequence() && v.sequence()->indexable()) || v.is_undefined();
}

bool is_callable(const Value& v) {
  if (!v.object()) return v.method() || v.function() || v.is_undefined();
  const Object::Kind kind = v.object()->kind;
  return kind != Object::Kind::name_space && kind != Object::Kind::cycler;
}

constexpr Builtin kTests[] = {
    {"defined", {}, 0, kind_test<[](const Value& v) { return !v.is_undefined(); }>},
    {"undefined", {}, 0, kind_test<[](const Value& v) { return v.is_undefined(); }>},
    {"none", {}, 0, kind_test<[](const Value& v) { return v.is_none(); }>},
    {"boolean", {}, 0, kind_test<[](const Value& v) { return v.boolean(); }>},
    {"true", {}, 0, kind_test<[](const Value& v) { return v.boolean() && *v.boolean(); }>},
    {"false", {}, 0, kind_test<[](const Value& v) { return v.boolean() && !*v.boolean(); }>},
    {"integer", {}, 0, kind_test<[](const Value& v) { return v.integer(); }>},
    {"float", {}, 0, kind_test<[](const Value& v) { return v.floating(); }>},
    {"number", {}, 0, kind_test<[](const Value& v) { return v.as_number().has_value(); }>},
    {"string", {}, 0, kind_test<[](const Value& v) { return v.text(); }>},
    {"mapping", {}, 0, kind_test<[](const Value& v) { return v.dict(); }>},
    {"sequence", {}, 0, kind_test<is_sequence>},
    {"iterable", {}, 0, kind_test<is_iterable>},
    {"callable", {}, 0, kind_test<is_callable>},
    {"odd", {}, 0, parity_test<1>},
    {"even", {}, 0, parity_test<0>},
    {"divisibleby", {"num"}, 1, [](Call& c) { return remainder_test(c, c.value(0), 0); }},
    {"lower", {}, 0, case_test<false>},
    {"upper", {}, 0, case_test<true>},
    {"sameas", {"other"}, 1, sameas_test},
    {"filter", {}, 0, name_test<find_filter>},
    {"test", {}, 0, name_test<find_test>},
    {"in", {"other"}, 1, compare_test<Operator::in>},
    {"==", {"other"}, 1, compare_test<Operator::equal>},
    {"eq", {"other"}, 1, compare_test<Operator::equal>},
    {"equalto", {"other"}, 1, compare_test<Operator::equal>},
    {"!=", {"other"}, 1, compare_test<Operator::not_equal>},
    {"ne", {"other"}, 1, compare_test<Operator::not_equal>},
    {">", {"other"}, 1, compare_test<Operator::greater>},
    {"gt", {"other"}, 1, compare_test<Operator::greater>},
    {"greaterthan", {"other"}, 1, compare_test<Operator::greater>},
    {">=", {"other"}, 1, compare_test<Operator::greater_equal>},
    {"ge", {"other"}, 1, compare_test<Operator::greater_equal>},
    {"<", {"other"}, 1, compare_test<Operator::less>},
    {"lt", {"other"}, 1, compare_test<Operator::less>},
    {"lessthan", {"other"}, 1, compare_test<Operator::less>},
    {"<=", {"other"}, 1, compare_test<Operator::less_equal>},
    {"le", {"other"}, 1, compare_test<Operator::less_equal>},
};

}  // namespace

const Builtin* find_test(std::string_view name) {
  return find_builtin(kTests, name);
}

}  // namespace dunlin::jinja
