// Running what the parser made: blocks, arguments and calls.
#include "tokenizer/jinja/program.h"

#include <fmt/format.h>

#include <algorithm>

#include "tokenizer/jinja/builtins.h"

namespace dunlin::jinja {

Level::Level(int& level, int limit, const char* what) : level_(level) {
  if (level >= limit) throw TemplateError(fmt::format("{} nested deeper than {}", what, limit));
  ++level_;
}

Value Expression::operator()(Frame& frame) const {
  const Level level(frame.evaluation_depth, kMaxEvaluationDepth, "evaluation");
  frame.runtime.step();
  frame.at = at;
  return (*function)(frame);
}

Flow run(const Block& block, Frame& frame) {
  for (const Statement& statement : block) {
    const Level level(frame.evaluation_depth, kMaxEvaluationDepth, "evaluation");
    frame.runtime.step();
    frame.at = statement.at;
    if (const Flow flow = statement.function(frame); flow != Flow::normal) return flow;
  }
  return Flow::normal;
}

Text capture(Frame& frame, const std::function<void()>& write) {
  const ScopeChange inner(frame);
  TextBuilder outer = std::exchange(frame.output, TextBuilder());
  write();
  return std::exchange(frame.output, std::move(outer)).take();
}

Text capture(const Block& block, Frame& frame) {
  return capture(frame, [&] { run(block, frame); });
}

Value define_macro(const Macro& macro, Frame& frame) {
  auto* object = frame.runtime.object<MacroObject>();
  object->definition = &macro;
  object->scope = frame.scope;
  return Value(object);
}

Arguments ArgumentList::evaluate(Frame& frame) const {
  Arguments result;
  for (const auto& argument : positional) result.positional.push_back(argument(frame));
  for (const auto& [name, argument] : keyword) result.keyword.emplace_back(name, argument(frame));
  if (star) {
    for (Value& item : iterate(star(frame), frame.runtime))
      result.positional.push_back(std::move(item));
  }
  if (double_star) {
    const Value mapping = double_star(frame);
    if (!mapping.dict()) throw TemplateError("the argument after ** must be a mapping");
    for (const auto& [key, value] : mapping.dict()->entries()) {
      if (!key.text()) throw TemplateError("keywords must be strings");
      frame.runtime.work(key.text()->size() + sizeof(value));
      result.keyword.emplace_back(key.text()->bytes(), value);
    }
  }
  return result;
}

namespace {

// Moves the keyword argument `name` out of the arguments into `value`; false when there is none.
bool take_keyword(Arguments& arguments, std::string_view name, Value& value) {
  auto& keyword = arguments.keyword;
  const auto found =
      std::find_if(keyword.begin(), keyword.end(), [&](const auto& k) { return k.first == name; });
  if (found == keyword.end()) return false;
  value = std::move(found->second);
  keyword.erase(found);
  return true;
}

// Sets the parameters in the frame's scope, defaults in order.
void bind_parameters(const Macro& macro, Arguments& arguments, Frame& frame) {
  const size_t given = std::min(arguments.positional.size(), macro.parameters.size());
  std::vector<std::pair<bool, Value>> values;
  for (size_t i = 0; i < macro.parameters.size(); ++i) {
    auto& [present, value] = values.emplace_back(i < given, Value());
    if (present) {
      value = arguments.positional[i];
    } else {
      present = take_keyword(arguments, macro.parameters[i].first, value);
    }
  }
  for (size_t i = 0; i < values.size(); ++i) {
    const auto& [name, default_value] = macro.parameters[i];
    auto& [present, value] = values[i];
    if (!present && default_value) value = default_value(frame);
    if (!present && !default_value)
      value = Value::undefined(fmt::format("parameter '{}' was not provided", name));
    frame.scope->set(name, std::move(value));
  }
  arguments.positional.erase(arguments.positional.begin(),
                             arguments.positional.begin() + static_cast<std::ptrdiff_t>(given));
}

// Sets caller, kwargs and varargs where the body uses them; what is left over is an error.
void bind_rest(const Macro& macro, Arguments arguments, Frame& frame) {
  Scope& scope = *frame.scope;
  if (macro.uses_caller && !scope.names.contains("caller")) {
    Value caller = Value::undefined("no caller defined");
    take_keyword(arguments, "caller", caller);
    scope.set("caller", std::move(caller));
  }
  if (macro.uses_kwargs) {
    Dict kwargs;
    for (auto& [name, value] : arguments.keyword)
      kwargs.set(frame.runtime.string(name), std::move(value), frame.runtime);
    scope.set("kwargs", Value(std::make_shared<const Dict>(std::move(kwargs))));
  } else if (!arguments.keyword.empty()) {
    throw TemplateError(fmt::format("macro '{}' takes no keyword argument '{:.100}'", macro.name,
                                    arguments.keyword[0].first));
  }
  if (macro.uses_varargs) {
    scope.set("varargs", frame.runtime.sequence(Sequence::Kind::tuple, arguments.positional));
  } else if (!arguments.positional.empty()) {
    throw TemplateError(fmt::format("macro '{}' takes not more than {} arguments", macro.name,
                                    macro.parameters.size()));
  }
}

Value call_macro(const MacroObject& macro, Arguments arguments, Frame& frame) {
  const Level level(frame.call_depth, kMaxCallDepth, "calls");
  const auto outer = macro.scope.lock();
  if (!outer) throw TemplateError("a macro is called after the block that defined it has ended");
  const Position at = frame.at;
  const ScopeChange inner(frame, std::make_shared<Scope>(Scope{{}, outer.get()}));
  bind_parameters(*macro.definition, arguments, frame);
  bind_rest(*macro.definition, std::move(arguments), frame);
  Value result = frame.runtime.string(capture(macro.definition->body, frame));
  frame.at = at;
  return result;
}

Value call_loop(const LoopObject& loop, const Arguments& arguments, Frame& frame) {
  const Level level(frame.call_depth, kMaxCallDepth, "calls");
  if (!loop.recurse) throw TemplateError("the loop must have the 'recursive' marker to be called");
  if (arguments.positional.size() != 1 || !arguments.keyword.empty())
    throw TemplateError("loop() takes one argument, what to iterate over");
  return loop.recurse(arguments.positional[0], frame);
}

Value call_object(Object& object, Arguments arguments, Frame& frame) {
  if (object.kind == Object::Kind::macro)
    return call_macro(static_cast<MacroObject&>(object), std::move(arguments), frame);
  if (object.kind == Object::Kind::loop)
    return call_loop(static_cast<LoopObject&>(object), arguments, frame);
  if (object.kind == Object::Kind::joiner) {
    auto& joiner = static_cast<JoinerObject&>(object);
    return std::exchange(joiner.used, true) ? joiner.separator : Value(Text());
  }
  throw TemplateError(fmt::format("'{}' object is not callable", Value(&object).type_name()));
}

}  // namespace

Value call(const Value& callee, Arguments arguments, Frame& frame) {
  callee.require_defined();
  if (const BoundMethod* method = callee.method())
    return run_builtin(*find_method(method->self, method->name), frame.runtime, method->self,
                       arguments);
  if (callee.function()) return run_builtin(*callee.function(), frame.runtime, Value(), arguments);
  if (callee.object()) return call_object(*callee.object(), std::move(arguments), frame);
  throw TemplateError(fmt::format("'{}' object is not callable", callee.type_name()));
}

const Value* Scope::find(std::string_view name) const {
  for (const Scope* scope = this; scope; scope = scope->parent) {
    if (const auto found = scope->names.find(name); found != scope->names.end())
      return &found->second;
  }
  return nullptr;
}

}  // namespace dunlin::jinja
