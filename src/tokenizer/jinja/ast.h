// The syntax tree of a template. Trees are at most kMaxNesting deep: chains of operators are flat.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tokenizer/jinja/value.h"

namespace dunlin::jinja {

struct Expression;
using ExpressionPointer = std::unique_ptr<Expression>;

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
  not_in
};

struct CallArguments {
  std::vector<ExpressionPointer> positional;
  std::vector<std::pair<std::string, ExpressionPointer>> keyword;
  ExpressionPointer star;         // *items, or null
  ExpressionPointer double_star;  // **mapping, or null
};

// Operands by kind:
//   list, tuple: the items; dict: key, value, key, value, ...; attribute (name), negate, plus,
//   logical_not: the operand subscript: object, index; slice: start, stop, step (each may be null);
//   call: the callee filter (name): the input, null in a filter block; test (name): the input
//   arithmetic, compare: one more operand than operators, evaluated from the left; concat,
//   logical_and, logical_or: all conditional: condition, then, otherwise (may be null)
struct Expression {
  enum class Kind {
    constant,
    name,
    list,
    tuple,
    dict,
    attribute,
    subscript,
    slice,
    call,
    filter,
    test,
    arithmetic,
    compare,
    concat,
    logical_and,
    logical_or,
    logical_not,
    negate,
    plus,
    conditional
  };
  Kind kind = Kind::constant;
  int line = 0;
  int depth = 1;
  std::string name;
  Value constant;
  std::vector<ExpressionPointer> operands;
  std::vector<Operator> operators;
  std::unique_ptr<CallArguments> arguments;  // call, filter, test
};

struct Statement;
using Block = std::vector<Statement>;

// What a block assigns to: a name, a namespace's attribute, or a tuple of targets.
struct Target {
  std::string name;
  std::string attribute;      // not empty: name.attribute
  std::vector<Target> items;  // tuple
  bool is_tuple = false;
};

struct Parameter {
  std::string name;
  ExpressionPointer default_value;  // null: none
};

struct Macro;

struct Branch {
  ExpressionPointer condition;  // null for else
  Block body;
};

struct Statement {
  enum class Kind {
    text,
    output,
    set,
    set_block,
    if_else,
    for_loop,
    macro,
    call_block,
    filter_block,
    with,
    break_loop,
    continue_loop
  };
  Kind kind = Kind::text;
  int line = 0;
  Value text;
  std::vector<Target> targets;  // set, set_block, for_loop: one; with: one per expression
  std::vector<ExpressionPointer>
      expressions;  // output, set: the value; for_loop: the iterable; call_block: the call;
                    // set_block, filter_block: the filter chain or nothing; with: values
  ExpressionPointer condition;   // for_loop: the filter after `if`, or null
  bool recursive = false;        // for_loop
  std::vector<Branch> branches;  // if_else
  Block body;
  Block otherwise;               // for_loop: else
  std::unique_ptr<Macro> macro;  // macro, call_block
};

struct Macro {
  std::string name;
  std::vector<Parameter> parameters;
  bool uses_caller = false;
  bool uses_varargs = false;
  bool uses_kwargs = false;
  Block body;
};

}  // namespace dunlin::jinja
