// The interpreter's statements.
#include "tokenizer/jinja/interpreter.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "tokenizer/jinja/builtins.h"
#include "tokenizer/jinja/format.h"
#include "tokenizer/jinja/limits.h"

namespace dunlin::jinja {

Interpreter::Depth::Depth(int& depth, int limit, const char* what) : depth_(depth) {
  if (depth >= limit) throw TemplateError(fmt::format("{} nested deeper than {}", what, limit));
  ++depth_;
}

Text Interpreter::render(const Block& block) {
  auto scope = std::make_shared<Scope>();
  scope->parent = globals_.get();
  execute(block, scope);
  return output_.take();
}

void Interpreter::write(const Value& value) {
  if (const Text* text = value.text()) {
    runtime_.budget.work(text->size());
    output_.append(*text);
  } else {
    output_.append(to_text(value, runtime_.budget));
  }
}

Text Interpreter::capture(const Block& block, const ScopePointer& scope) {
  TextBuilder outer = std::exchange(output_, TextBuilder());
  execute(block, scope);
  Text text = output_.take();
  output_ = std::move(outer);
  return text;
}

Interpreter::Flow Interpreter::execute(const Block& block, const ScopePointer& scope) {
  for (const Statement& statement : block) {
    const Flow flow = execute(statement, scope);
    if (flow != Flow::normal) return flow;
  }
  return Flow::normal;
}

namespace {

std::shared_ptr<Scope> nested_scope(const std::shared_ptr<Scope>& parent) {
  auto scope = std::make_shared<Scope>();
  scope->parent = parent.get();
  return scope;
}

}  // namespace

Interpreter::Flow Interpreter::execute(const Statement& statement, const ScopePointer& scope) {
  const Depth depth(evaluation_depth_, kMaxEvaluationDepth, "evaluation");
  runtime_.budget.step();
  line_ = statement.line;
  switch (statement.kind) {
    case Statement::Kind::text:
      write(statement.text);
      break;
    case Statement::Kind::output:
      execute_output(statement, scope);
      break;
    case Statement::Kind::set: {
      Value value = evaluate(*statement.expressions[0], scope);
      assign(statement.targets[0], std::move(value), *scope);
      break;
    }
    case Statement::Kind::set_block:
      execute_set_block(statement, scope);
      break;
    case Statement::Kind::if_else:
      return execute_if(statement, scope);
    case Statement::Kind::for_loop:
      return execute_for(statement, scope);
    case Statement::Kind::macro:
      scope->set(statement.macro->name, define_macro(*statement.macro, scope));
      break;
    case Statement::Kind::call_block:
      execute_call_block(statement, scope);
      break;
    case Statement::Kind::filter_block: {
      const Value text = make_string(capture(statement.body, nested_scope(scope)), runtime_.budget);
      write(evaluate_filter(*statement.expressions[0], scope, &text));
      break;
    }
    case Statement::Kind::with:
      return execute_with(statement, scope);
    case Statement::Kind::break_loop:
      return Flow::break_loop;
    case Statement::Kind::continue_loop:
      return Flow::continue_loop;
  }
  return Flow::normal;
}

void Interpreter::execute_output(const Statement& statement, const ScopePointer& scope) {
  write(evaluate(*statement.expressions[0], scope));
}

Interpreter::Flow Interpreter::execute_if(const Statement& statement, const ScopePointer& scope) {
  for (const Branch& branch : statement.branches) {
    if (!branch.condition || evaluate(*branch.condition, scope).truthy())
      return execute(branch.body, scope);
  }
  return Flow::normal;
}

// The values are evaluated outside the new scope.
Interpreter::Flow Interpreter::execute_with(const Statement& statement, const ScopePointer& scope) {
  const ScopePointer inner = nested_scope(scope);
  for (size_t i = 0; i < statement.targets.size(); ++i) {
    Value value = evaluate(*statement.expressions[i], scope);
    assign(statement.targets[i], std::move(value), *inner);
  }
  return execute(statement.body, inner);
}

void Interpreter::execute_set_block(const Statement& statement, const ScopePointer& scope) {
  Value text = make_string(capture(statement.body, nested_scope(scope)), runtime_.budget);
  if (!statement.expressions.empty())
    text = evaluate_filter(*statement.expressions[0], scope, &text);
  assign(statement.targets[0], std::move(text), *scope);
}

void Interpreter::execute_call_block(const Statement& statement, const ScopePointer& scope) {
  write(evaluate_call(*statement.expressions[0], scope, define_macro(*statement.macro, scope)));
}

Value Interpreter::define_macro(const Macro& macro, const ScopePointer& scope) {
  auto* object = runtime_.make_object<MacroObject>();
  object->definition = &macro;
  object->scope = scope;
  return Value(object);
}

void Interpreter::assign(const Target& target, Value value, Scope& scope) {
  if (target.is_tuple) {
    const std::vector<Value> items = iterate(value, runtime_.budget);
    if (items.size() != target.items.size()) {
      throw TemplateError(
          fmt::format("cannot unpack {} values into {}", items.size(), target.items.size()));
    }
    for (size_t i = 0; i < items.size(); ++i) assign(target.items[i], items[i], scope);
  } else if (target.attribute.empty()) {
    scope.set(target.name, std::move(value));
  } else {
    const Value* object = scope.find(target.name);
    if (!object || !object->object() || object->object()->kind != Object::Kind::name_space) {
      throw TemplateError(
          fmt::format("cannot assign an attribute of '{}': it is not a namespace", target.name));
    }
    if (target.attribute.starts_with('_'))
      throw TemplateError("attribute names must not begin with _");
    static_cast<NamespaceObject*>(object->object())->set(target.attribute, std::move(value));
  }
}

std::vector<Value> Interpreter::loop_items(const Statement& statement, const Value& iterable,
                                           const ScopePointer& scope) {
  std::vector<Value> items = iterate(iterable, runtime_.budget);
  if (!statement.condition) return items;
  std::vector<Value> kept;
  for (Value& item : items) {
    const ScopePointer inner = nested_scope(scope);
    assign(statement.targets[0], item, *inner);
    if (evaluate(*statement.condition, inner).truthy()) kept.push_back(std::move(item));
  }
  return kept;
}

Interpreter::Flow Interpreter::execute_for(const Statement& statement, const ScopePointer& scope) {
  const Value iterable = evaluate(*statement.expressions[0], scope);
  return run_loop(statement, iterable, scope, 0);
}

Interpreter::Flow Interpreter::run_loop(const Statement& statement, const Value& iterable,
                                        const ScopePointer& scope, int depth) {
  auto* loop = runtime_.make_object<LoopObject>();
  loop->items = loop_items(statement, iterable, scope);
  loop->depth = depth;
  loop->recursive = statement.recursive ? &statement : nullptr;
  loop->scope = scope;
  bool completed =
      false;  // Jinja2 runs the else block unless an iteration reached the end of the body
  for (loop->index = 0; loop->index < loop->items.size(); ++loop->index) {
    runtime_.budget.step();
    const ScopePointer inner = nested_scope(scope);
    inner->set("loop", Value(loop));
    assign(statement.targets[0], loop->items[loop->index], *inner);
    const Flow flow = execute(statement.body, inner);
    if (flow == Flow::break_loop) break;
    completed |= flow == Flow::normal;
  }
  loop->items = {};
  loop->last_changed.reset();
  return completed ? Flow::normal : execute(statement.otherwise, nested_scope(scope));
}

const Value* Scope::find_here(std::string_view name) const {
  for (const auto& [variable, value] : variables) {
    if (variable == name) return &value;
  }
  return nullptr;
}

const Value* Scope::find(std::string_view name) const {
  for (const Scope* scope = this; scope; scope = scope->parent) {
    if (const Value* value = scope->find_here(name)) return value;
  }
  return nullptr;
}

void Scope::set(std::string_view name, Value value) {
  for (auto& [variable, old] : variables) {
    if (variable == name) {
      old = std::move(value);
      return;
    }
  }
  variables.emplace_back(name, std::move(value));
}

const Value* NamespaceObject::find(std::string_view name) const {
  for (const auto& [attribute, value] : attributes) {
    if (attribute == name) return &value;
  }
  return nullptr;
}

void NamespaceObject::set(std::string_view name, Value value) {
  for (auto& [attribute, old] : attributes) {
    if (attribute == name) {
      old = std::move(value);
      return;
    }
  }
  attributes.emplace_back(name, std::move(value));
}

}  // namespace dunlin::jinja
