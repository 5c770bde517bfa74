// The interpreter: runs a syntax tree and writes text with origins.
#pragma once

#include <memory>
#include <span>
#include <string>

#include "tokenizer/jinja/ast.h"
#include "tokenizer/jinja/objects.h"

namespace dunlin::jinja {

class Interpreter {
 public:
  explicit Interpreter(Runtime& runtime) : runtime_(runtime), globals_(std::make_shared<Scope>()) {}

  // A variable of the template. The name must outlive the interpreter.
  void define(std::string_view name, Value value) { globals_->set(name, std::move(value)); }
  // Throws TemplateError; line() is then where.
  Text render(const Block& block);
  int line() const { return line_; }

 private:
  enum class Flow { normal, break_loop, continue_loop };
  using ScopePointer = std::shared_ptr<Scope>;

  // Statements (interpreter.cpp).
  Flow execute(const Block& block, const ScopePointer& scope);
  Flow execute(const Statement& statement, const ScopePointer& scope);
  Flow execute_if(const Statement& statement, const ScopePointer& scope);
  Flow execute_with(const Statement& statement, const ScopePointer& scope);
  void execute_output(const Statement& statement, const ScopePointer& scope);
  Flow execute_for(const Statement& statement, const ScopePointer& scope);
  Flow run_loop(const Statement& statement, const Value& iterable, const ScopePointer& scope,
                int depth);
  std::vector<Value> loop_items(const Statement& statement, const Value& iterable,
                                const ScopePointer& scope);
  void execute_set_block(const Statement& statement, const ScopePointer& scope);
  void execute_call_block(const Statement& statement, const ScopePointer& scope);
  void assign(const Target& target, Value value, Scope& scope);
  // What `block` writes, in a scope of its own, as a string.
  Text capture(const Block& block, const ScopePointer& scope);
  Value define_macro(const Macro& macro, const ScopePointer& scope);
  void write(const Value& value);

  // Expressions (evaluate.cpp).
  Value evaluate(const Expression& expression, const ScopePointer& scope);
  Value evaluate_node(const Expression& expression, const ScopePointer& scope);
  Value evaluate_optional(const ExpressionPointer& expression, const ScopePointer& scope);
  Value evaluate_name(const Expression& expression, const Scope& scope);
  Value evaluate_items(const Expression& expression, const ScopePointer& scope);
  Value evaluate_dict(const Expression& expression, const ScopePointer& scope);
  Value evaluate_subscript(const Expression& expression, const ScopePointer& scope);
  Value evaluate_arithmetic(const Expression& expression, const ScopePointer& scope);
  Value evaluate_compare(const Expression& expression, const ScopePointer& scope);
  Value evaluate_concat(const Expression& expression, const ScopePointer& scope);
  Value evaluate_logical(const Expression& expression, const ScopePointer& scope, bool stop_at);
  Value evaluate_conditional(const Expression& expression, const ScopePointer& scope);
  Value evaluate_filter(const Expression& expression, const ScopePointer& scope,
                        const Value* block_input = nullptr);
  Value evaluate_call(const Expression& expression, const ScopePointer& scope,
                      Value caller = Value());
  Arguments evaluate_arguments(const CallArguments& arguments, const ScopePointer& scope);

  // Calls (call.cpp).
  Value call(const Value& callee, Arguments arguments);
  Value call_macro(const MacroObject& macro, Arguments arguments);
  void bind_parameters(const Macro& macro, Arguments& arguments, const ScopePointer& scope);
  Value call_loop(const LoopObject& loop, const Arguments& arguments);

  // Counts a level of nested evaluation or of calls while it lives.
  class Depth {
   public:
    Depth(int& depth, int limit, const char* what);
    ~Depth() { --depth_; }
    Depth(const Depth&) = delete;
    Depth& operator=(const Depth&) = delete;

   private:
    int& depth_;
  };

  Runtime& runtime_;
  ScopePointer globals_;
  TextBuilder output_;  // of the innermost capture
  int line_ = 1;
  int evaluation_depth_ = 0;
  int call_depth_ = 0;
};

}  // namespace dunlin::jinja
