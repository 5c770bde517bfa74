// A parsed template: the parser turns each expression and each statement into a function that runs it,
// and a Frame is what they run in.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tokenizer/jinja/runtime.h"

namespace dunlin::jinja {

struct Frame {
  explicit Frame(Runtime& rendering) : runtime(rendering) {}

  Runtime& runtime;
  std::shared_ptr<Scope> scope = std::make_shared<Scope>();
  TextBuilder output;  // of the innermost capture
  Value caller;        // the macro of a call block, for the call that comes next
  Value captured;      // the text of a filter or set block, for its first filter
  Position at;         // of the last node that began, for errors
  int evaluation_depth = 0;
  int call_depth = 0;
};

// Replaces the frame's scope while it lives.
class ScopeChange {
 public:
  ScopeChange(Frame& frame, std::shared_ptr<Scope> scope)
      : frame_(frame), outer_(std::exchange(frame.scope, std::move(scope))) {}
  // To a new scope inside the current one.
  explicit ScopeChange(Frame& frame)
      : ScopeChange(frame, std::make_shared<Scope>(Scope{{}, frame.scope.get()})) {}
  ~ScopeChange() { frame_.scope = std::move(outer_); }
  ScopeChange(const ScopeChange&) = delete;
  ScopeChange& operator=(const ScopeChange&) = delete;

 private:
  Frame& frame_;
  std::shared_ptr<Scope> outer_;
};

// Copies share the function.
struct Expression {
  std::shared_ptr<const std::function<Value(Frame&)>> function;
  Position at;

  explicit operator bool() const { return function != nullptr; }
  // Throws TemplateError; the frame's position is then where.
  Value operator()(Frame& frame) const;
};

inline Expression make_expression(Position where, std::function<Value(Frame&)> function) {
  return {std::make_shared<const std::function<Value(Frame&)>>(std::move(function)), where};
}

enum class Flow { normal, break_loop, continue_loop };

struct Statement {
  std::function<Flow(Frame&)> function;
  Position at;
};
using Block = std::vector<Statement>;

Flow run(const Block& block, Frame& frame);
// What `write` writes, in a scope of its own.
Text capture(Frame& frame, const std::function<void()>& write);
Text capture(const Block& block, Frame& frame);

// What is assigned to: a name, an attribute of a namespace, or a tuple.
using Target = std::function<void(Frame&, Value)>;

struct Macro {
  std::string name;
  std::vector<std::pair<std::string, Expression>> parameters;  // with their defaults, if any
  bool uses_caller = false;
  bool uses_varargs = false;
  bool uses_kwargs = false;
  Block body;
};
Value define_macro(const Macro& macro, Frame& frame);

// The arguments in parentheses of a call, filter or test.
struct ArgumentList {
  std::vector<Expression> positional;
  std::vector<std::pair<std::string, Expression>> keyword;
  Expression star;         // *items, or none
  Expression double_star;  // **mapping, or none

  Arguments evaluate(Frame& frame) const;
};

// Calls a method, function, macro, recursive loop or joiner.
Value call(const Value& callee, Arguments arguments, Frame& frame);

}  // namespace dunlin::jinja
