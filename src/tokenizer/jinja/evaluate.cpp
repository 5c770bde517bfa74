// The interpreter's expressions.
#include <fmt/format.h>

#include "tokenizer/jinja/builtins.h"
#include "tokenizer/jinja/format.h"
#include "tokenizer/jinja/interpreter.h"
#include "tokenizer/jinja/limits.h"
#include "tokenizer/jinja/operators.h"

namespace dunlin::jinja {

Value Interpreter::evaluate(const Expression& expression, const ScopePointer& scope) {
  const Depth depth(evaluation_depth_, kMaxEvaluationDepth, "evaluation");
  runtime_.budget.step();
  line_ = expression.line;
  return evaluate_node(expression, scope);
}

Value Interpreter::evaluate_optional(const ExpressionPointer& expression,
                                     const ScopePointer& scope) {
  return expression ? evaluate(*expression, scope) : Value();
}

Value Interpreter::evaluate_node(const Expression& expression, const ScopePointer& scope) {
  using Kind = Expression::Kind;
  switch (expression.kind) {
    case Kind::constant:
      return expression.constant;
    case Kind::name:
      return evaluate_name(expression, *scope);
    case Kind::list:
    case Kind::tuple:
      return evaluate_items(expression, scope);
    case Kind::dict:
      return evaluate_dict(expression, scope);
    case Kind::attribute:
      return get_attribute(runtime_, evaluate(*expression.operands[0], scope), expression.name);
    case Kind::subscript:
      return evaluate_subscript(expression, scope);
    case Kind::slice:
      throw TemplateError("a slice cannot be part of a tuple index");
    case Kind::call:
      return evaluate_call(expression, scope);
    case Kind::filter:
      return evaluate_filter(expression, scope);
    case Kind::test: {
      const Value input = evaluate(*expression.operands[0], scope);
      const Arguments arguments = evaluate_arguments(*expression.arguments, scope);
      return Value(apply_test(runtime_, expression.name, input, arguments));
    }
    case Kind::arithmetic:
      return evaluate_arithmetic(expression, scope);
    case Kind::compare:
      return evaluate_compare(expression, scope);
    case Kind::concat:
      return evaluate_concat(expression, scope);
    case Kind::logical_and:
      return evaluate_logical(expression, scope, false);
    case Kind::logical_or:
      return evaluate_logical(expression, scope, true);
    case Kind::logical_not:
      return Value(!evaluate(*expression.operands[0], scope).truthy());
    case Kind::negate:
      return negate(evaluate(*expression.operands[0], scope));
    case Kind::plus:
      return unary_plus(evaluate(*expression.operands[0], scope));
    case Kind::conditional:
      return evaluate_conditional(expression, scope);
  }
  return Value();
}

Value Interpreter::evaluate_name(const Expression& expression, const Scope& scope) {
  if (const Value* value = scope.find(expression.name)) return *value;
  const GlobalFunction function = find_global(expression.name);
  if (!function) return Value::undefined(fmt::format("'{}' is undefined", expression.name));
  auto* object = runtime_.make_object<FunctionObject>();
  object->function = function;
  return Value(object);
}

Value Interpreter::evaluate_items(const Expression& expression, const ScopePointer& scope) {
  std::vector<Value> items;
  for (const auto& operand : expression.operands) items.push_back(evaluate(*operand, scope));
  const bool tuple = expression.kind == Expression::Kind::tuple;
  return make_sequence(tuple ? Sequence::Kind::tuple : Sequence::Kind::list, std::move(items),
                       runtime_.budget);
}

Value Interpreter::evaluate_dict(const Expression& expression, const ScopePointer& scope) {
  Dict dict;
  for (size_t i = 0; i < expression.operands.size(); i += 2) {
    Value key = evaluate(*expression.operands[i], scope);
    Value value = evaluate(*expression.operands[i + 1], scope);
    dict.set(std::move(key), std::move(value), runtime_.budget);
  }
  return make_dict(std::move(dict));
}

Value Interpreter::evaluate_subscript(const Expression& expression, const ScopePointer& scope) {
  const Value object = evaluate(*expression.operands[0], scope);
  const Expression& index = *expression.operands[1];
  if (index.kind != Expression::Kind::slice)
    return get_item(runtime_, object, evaluate(index, scope));
  const Value start = evaluate_optional(index.operands[0], scope);
  const Value stop = evaluate_optional(index.operands[1], scope);
  const Value step = evaluate_optional(index.operands[2], scope);
  return get_slice(object, start, stop, step, runtime_.budget);
}

Value Interpreter::evaluate_arithmetic(const Expression& expression, const ScopePointer& scope) {
  Value result = evaluate(*expression.operands[0], scope);
  for (size_t i = 0; i < expression.operators.size(); ++i) {
    const Value right = evaluate(*expression.operands[i + 1], scope);
    result = arithmetic(expression.operators[i], result, right, runtime_.budget);
  }
  return result;
}

Value Interpreter::evaluate_compare(const Expression& expression, const ScopePointer& scope) {
  Value left = evaluate(*expression.operands[0], scope);
  for (size_t i = 0; i < expression.operators.size(); ++i) {
    Value right = evaluate(*expression.operands[i + 1], scope);
    if (!compare(expression.operators[i], left, right, runtime_.budget)) return Value(false);
    left = std::move(right);
  }
  return Value(true);
}

Value Interpreter::evaluate_concat(const Expression& expression, const ScopePointer& scope) {
  TextBuilder builder;
  for (const auto& operand : expression.operands) {
    const Value value = evaluate(*operand, scope);
    builder.append(to_text(value, runtime_.budget));
  }
  return make_string(builder.take(), runtime_.budget);
}

// The first operand whose truth is `stop_at`, or the last one.
Value Interpreter::evaluate_logical(const Expression& expression, const ScopePointer& scope,
                                    bool stop_at) {
  Value value;
  for (const auto& operand : expression.operands) {
    value = evaluate(*operand, scope);
    if (value.truthy() == stop_at) break;
  }
  return value;
}

Value Interpreter::evaluate_conditional(const Expression& expression, const ScopePointer& scope) {
  if (evaluate(*expression.operands[0], scope).truthy())
    return evaluate(*expression.operands[1], scope);
  if (expression.operands[2]) return evaluate(*expression.operands[2], scope);
  return Value::undefined(fmt::format(
      "the inline if-expression on line {} evaluated to false and no else section was defined.",
      expression.line));
}

// `block_input` is the text of the filter block or set block that the innermost filter of the chain
// applies to.
Value Interpreter::evaluate_filter(const Expression& expression, const ScopePointer& scope,
                                   const Value* block_input) {
  const Depth depth(evaluation_depth_, kMaxEvaluationDepth, "evaluation");
  Value input;
  if (!expression.operands[0]) {
    input = *block_input;
  } else if (block_input) {
    input = evaluate_filter(*expression.operands[0], scope, block_input);
  } else {
    input = evaluate(*expression.operands[0], scope);
  }
  const Arguments arguments = evaluate_arguments(*expression.arguments, scope);
  line_ = expression.line;
  return apply_filter(runtime_, expression.name, input, arguments);
}

Arguments Interpreter::evaluate_arguments(const CallArguments& arguments,
                                          const ScopePointer& scope) {
  Arguments result;
  for (const auto& argument : arguments.positional)
    result.positional.push_back(evaluate(*argument, scope));
  for (const auto& [name, argument] : arguments.keyword)
    result.keyword.emplace_back(name, evaluate(*argument, scope));
  if (arguments.star) {
    for (Value& item : iterate(evaluate(*arguments.star, scope), runtime_.budget)) {
      result.positional.push_back(std::move(item));
    }
  }
  if (arguments.double_star) {
    const Value mapping = evaluate(*arguments.double_star, scope);
    if (!mapping.dict()) throw TemplateError("the argument after ** must be a mapping");
    for (const auto& entry : mapping.dict()->entries()) {
      if (!entry.key.text()) throw TemplateError("keywords must be strings");
      runtime_.budget.work(entry.key.text()->size() + sizeof(entry));
      result.keyword.emplace_back(entry.key.text()->bytes(), entry.value);
    }
  }
  return result;
}

// A method is called on its object directly; everything else is evaluated to something callable
// first.
Value Interpreter::evaluate_call(const Expression& expression, const ScopePointer& scope,
                                 Value caller) {
  const Expression& callee = *expression.operands[0];
  const bool attribute = callee.kind == Expression::Kind::attribute;
  const Value target = evaluate(attribute ? *callee.operands[0] : callee, scope);
  const bool method = attribute && has_method(target, callee.name);
  const Value function =
      attribute && !method ? get_attribute(runtime_, target, callee.name) : target;
  Arguments arguments = evaluate_arguments(*expression.arguments, scope);
  if (!caller.is_none()) arguments.keyword.emplace_back("caller", std::move(caller));
  line_ = expression.line;
  return method ? call_method(runtime_, target, callee.name, arguments)
                : call(function, std::move(arguments));
}

}  // namespace dunlin::jinja
