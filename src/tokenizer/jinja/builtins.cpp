// Look-up of filters and the matching of arguments to parameters.
#include "tokenizer/jinja/builtins.h"

#include <fmt/format.h>

#include <algorithm>

namespace dunlin::jinja {

const Filter* find_filter(std::string_view name) {
  for (const auto table : {text_filters(), sequence_filters(), number_filters()}) {
    const auto found =
        std::find_if(table.begin(), table.end(), [&](const Filter& f) { return f.name == name; });
    if (found != table.end()) return &*found;
  }
  return nullptr;
}

Value apply_filter(Runtime& runtime, std::string_view name, const Value& input,
                   const Arguments& arguments) {
  runtime.budget.step();
  const Filter* filter = find_filter(name);
  if (!filter) throw TemplateError(fmt::format("no filter named '{}'", name));
  return filter->function(runtime, input, arguments);
}

bool apply_test(Runtime& runtime, std::string_view name, const Value& input,
                const Arguments& arguments) {
  runtime.budget.step();
  const Test* test = find_test(name);
  if (!test) throw TemplateError(fmt::format("no test named '{}'", name));
  return test->function(runtime, input, arguments);
}

BoundArguments::BoundArguments(std::string_view function, const Arguments& arguments,
                               std::initializer_list<std::string_view> parameters, size_t required)
    : function_(function), parameters_(parameters), values_(parameters.size(), nullptr) {
  if (arguments.positional.size() > parameters.size()) {
    throw TemplateError(fmt::format("{}() takes at most {} arguments, not {}", function,
                                    parameters.size(), arguments.positional.size()));
  }
  for (size_t i = 0; i < arguments.positional.size(); ++i) values_[i] = &arguments.positional[i];
  for (const auto& [name, value] : arguments.keyword) {
    const auto found = std::find(parameters.begin(), parameters.end(), name);
    if (found == parameters.end()) {
      throw TemplateError(fmt::format("{}() has no parameter '{}'", function, name));
    }
    const auto index = static_cast<size_t>(found - parameters.begin());
    if (values_[index]) throw TemplateError(fmt::format("{}() got '{}' twice", function, name));
    values_[index] = &value;
  }
  for (size_t i = 0; i < required; ++i) {
    if (!values_[i])
      throw TemplateError(fmt::format("{}() misses '{}'", function, parameters.begin()[i]));
  }
}

void BoundArguments::fail_type(size_t parameter, std::string_view expected) const {
  if (values_[parameter]) require_defined(*values_[parameter]);
  throw TemplateError(
      fmt::format("{}(): '{}' must be {}", function_, parameters_[parameter], expected));
}

const Text& BoundArguments::text(size_t parameter) const {
  const Text* text = values_[parameter] ? values_[parameter]->text() : nullptr;
  if (!text) fail_type(parameter, "a string");
  return *text;
}

const Text* BoundArguments::text_or_none(size_t parameter) const {
  if (!values_[parameter] || values_[parameter]->is_none()) return nullptr;
  return &text(parameter);
}

int64_t BoundArguments::integer_or(size_t parameter, int64_t fallback) const {
  const Value* value = values_[parameter];
  if (!value) return fallback;
  if (value->boolean()) return *value->boolean() ? 1 : 0;
  if (!value->integer()) fail_type(parameter, "an integer");
  return *value->integer();
}

bool BoundArguments::boolean_or(size_t parameter, bool fallback) const {
  return values_[parameter] ? values_[parameter]->truthy() : fallback;
}

}  // namespace dunlin::jinja
