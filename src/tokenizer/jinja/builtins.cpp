// The matching of arguments to parameters.
#include "tokenizer/jinja/builtins.h"

#include <fmt/format.h>

#include <algorithm>

#include "tokenizer/jinja/print.h"

namespace dunlin::jinja {

Call::Call(const Builtin& builtin, Runtime& call_runtime, const Value& call_self,
           const Arguments& call_arguments)
    : runtime(call_runtime), self(call_self), arguments(call_arguments), builtin_(builtin) {
  const auto& parameters = builtin.parameters;
  if (parameters[0] == "*") return;
  const auto end = std::find(parameters.begin(), parameters.end(), "");
  const auto count = static_cast<size_t>(end - parameters.begin());
  if (arguments.positional.size() > count) {
    throw TemplateError(fmt::format("{}() takes at most {} arguments, not {}", builtin.name, count,
                                    arguments.positional.size()));
  }
  for (size_t i = 0; i < arguments.positional.size(); ++i) values_[i] = &arguments.positional[i];
  for (const auto& [name, value] : arguments.keyword) {
    const auto found = std::find(parameters.begin(), end, name);
    if (found == end)
      throw TemplateError(fmt::format("{}() has no parameter '{}'", builtin.name, name));
    const Value*& place = values_[static_cast<size_t>(found - parameters.begin())];
    if (place) throw TemplateError(fmt::format("{}() got '{}' twice", builtin.name, name));
    place = &value;
  }
  for (size_t i = 0; i < builtin.required; ++i) {
    if (!values_[i])
      throw TemplateError(fmt::format("{}() misses '{}'", builtin.name, parameters[i]));
  }
}

const Value* Call::find(size_t parameter) const {
  const Value* value = values_[parameter];
  return value && !value->is_none() ? value : nullptr;
}

void Call::fail_type(size_t parameter, std::string_view expected) const {
  if (values_[parameter]) values_[parameter]->require_defined();
  throw TemplateError(fmt::format("{}(): '{}' must be {}", builtin_.name,
                                  builtin_.parameters[parameter], expected));
}

const Text& Call::text(size_t parameter) const {
  const Value* value = find(parameter);
  if (!value || !value->text()) fail_type(parameter, "a string");
  return *value->text();
}

int64_t Call::integer_or(size_t parameter, int64_t fallback) const {
  const Value* value = find(parameter);
  if (!value) return fallback;
  if (!value->as_integer()) fail_type(parameter, "an integer");
  return *value->as_integer();
}

Text Call::self_text() const {
  return to_text(self, runtime);
}

Value run_builtin(const Builtin& builtin, Runtime& runtime, const Value& self,
                  const Arguments& arguments) {
  const Level level(runtime.builtin_level, kMaxNesting, "built-ins");
  runtime.step();
  Call call(builtin, runtime, self, arguments);
  return builtin.run(call);
}

}  // namespace dunlin::jinja
