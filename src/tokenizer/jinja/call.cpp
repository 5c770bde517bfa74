// Calls of functions, macros and recursive loops.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "tokenizer/jinja/builtins.h"
#include "tokenizer/jinja/interpreter.h"
#include "tokenizer/jinja/limits.h"

namespace dunlin::jinja {

Value Interpreter::call(const Value& callee, Arguments arguments) {
  require_defined(callee);
  if (const BoundMethod* method = callee.method())
    return call_method(runtime_, method->self, method->name, arguments);
  Object* object = callee.object();
  const int line = line_;
  Value result;
  switch (object ? object->kind : Object::Kind::name_space) {
    case Object::Kind::function:
      return static_cast<FunctionObject*>(object)->function(runtime_, arguments);
    case Object::Kind::macro:
      result = call_macro(*static_cast<MacroObject*>(object), std::move(arguments));
      break;
    case Object::Kind::loop:
      result = call_loop(*static_cast<LoopObject*>(object), arguments);
      break;
    case Object::Kind::joiner: {
      auto* joiner = static_cast<JoinerObject*>(object);
      return std::exchange(joiner->used, true) ? joiner->separator : Value(Text());
    }
    default:
      throw TemplateError(fmt::format("'{}' object is not callable", callee.type_name()));
  }
  line_ = line;
  return result;
}

Value Interpreter::call_macro(const MacroObject& macro, Arguments arguments) {
  const Depth depth(call_depth_, kMaxCallDepth, "calls");
  const ScopePointer definition_scope = macro.scope.lock();
  if (!definition_scope)
    throw TemplateError("a macro is called after the block that defined it has ended");
  const ScopePointer scope = std::make_shared<Scope>();
  scope->parent = definition_scope.get();
  bind_parameters(*macro.definition, arguments, scope);
  return make_string(capture(macro.definition->body, scope), runtime_.budget);
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

}  // namespace

// Parameters in order, then caller, kwargs and varargs where the body uses them; what is left over
// is an error.
void Interpreter::bind_parameters(const Macro& macro, Arguments& arguments,
                                  const ScopePointer& scope) {
  const auto& positional = arguments.positional;
  const size_t given = std::min(positional.size(), macro.parameters.size());
  std::vector<Value> values(positional.begin(),
                            positional.begin() + static_cast<std::ptrdiff_t>(given));
  std::vector<bool> present(given, true);
  for (size_t i = given; i < macro.parameters.size(); ++i) {
    present.push_back(take_keyword(arguments, macro.parameters[i].name, values.emplace_back()));
  }
  for (size_t i = 0; i < macro.parameters.size(); ++i) {
    const Parameter& parameter = macro.parameters[i];
    if (!present[i]) {
      values[i] =
          parameter.default_value
              ? evaluate(*parameter.default_value, scope)
              : Value::undefined(fmt::format("parameter '{}' was not provided", parameter.name));
    }
    scope->set(parameter.name, std::move(values[i]));
  }
  if (macro.uses_caller && !scope->find_here("caller")) {
    Value caller = Value::undefined("no caller defined");
    take_keyword(arguments, "caller", caller);
    scope->set("caller", std::move(caller));
  }
  if (macro.uses_kwargs) {
    Dict kwargs;
    for (auto& [name, value] : arguments.keyword)
      kwargs.set(Value(Text(name, false)), value, runtime_.budget);
    scope->set("kwargs", make_dict(std::move(kwargs)));
  } else if (!arguments.keyword.empty()) {
    throw TemplateError(fmt::format("macro '{}' takes no keyword argument '{}'", macro.name,
                                    arguments.keyword[0].first));
  }
  if (macro.uses_varargs) {
    std::vector<Value> rest(positional.begin() + static_cast<std::ptrdiff_t>(given),
                            positional.end());
    scope->set("varargs", make_sequence(Sequence::Kind::tuple, std::move(rest), runtime_.budget));
  } else if (positional.size() > given) {
    throw TemplateError(
        fmt::format("macro '{}' takes not more than {} arguments", macro.name, given));
  }
}

// loop(items): the body of a recursive loop once more, over other items.
Value Interpreter::call_loop(const LoopObject& loop, const Arguments& arguments) {
  const Depth depth(call_depth_, kMaxCallDepth, "calls");
  if (!loop.recursive)
    throw TemplateError("the loop must have the 'recursive' marker to be called");
  const BoundArguments bound("loop", arguments, {"iterable"}, 1);
  const ScopePointer scope = loop.scope.lock();
  if (!scope) throw TemplateError("a loop is called after the block around it has ended");
  TextBuilder outer = std::exchange(output_, TextBuilder());
  run_loop(*loop.recursive, bound.value(0), scope, loop.depth + 1);
  Text text = output_.take();
  output_ = std::move(outer);
  return make_string(std::move(text), runtime_.budget);
}

}  // namespace dunlin::jinja
