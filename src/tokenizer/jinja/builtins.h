// The names a template can use without defining them: filters, tests, global functions, and methods
// of values.
#pragma once

#include <initializer_list>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "tokenizer/jinja/objects.h"

namespace dunlin::jinja {

// Everything here throws TemplateError for wrong arguments, as the Python original raises an
// exception.
struct Filter {
  std::string_view name;
  Value (*function)(Runtime& runtime, const Value& input, const Arguments& arguments);
};
struct Test {
  std::string_view name;
  bool (*function)(Runtime& runtime, const Value& input, const Arguments& arguments);
};

const Filter* find_filter(std::string_view name);  // nullptr when there is none
const Test* find_test(std::string_view name);
GlobalFunction find_global(std::string_view name);

Value apply_filter(Runtime& runtime, std::string_view name, const Value& input,
                   const Arguments& arguments);
bool apply_test(Runtime& runtime, std::string_view name, const Value& input,
                const Arguments& arguments);

// Methods of strings and dicts, and of the objects loop, cycler and joiner.
bool has_method(const Value& self, std::string_view name);
Value call_method(Runtime& runtime, const Value& self, std::string_view name,
                  const Arguments& arguments);

// The tables of the filter files.
std::span<const Filter> text_filters();
std::span<const Filter> sequence_filters();
std::span<const Filter> number_filters();

// str methods, by name; used by has_method and call_method, and by the filters of the same name.
bool has_string_method(std::string_view name);
Value call_string_method(Runtime& runtime, const Text& self, std::string_view name,
                         const Arguments& arguments);

// Arguments matched to parameter names. Throws for missing, unknown and surplus arguments.
class BoundArguments {
 public:
  BoundArguments(std::string_view function, const Arguments& arguments,
                 std::initializer_list<std::string_view> parameters, size_t required = 0);

  const Value* find(size_t parameter) const {
    return values_[parameter];
  }  // nullptr when not given
  const Value& value(size_t parameter) const { return *values_[parameter]; }
  const Text& text(size_t parameter) const;
  const Text* text_or_none(size_t parameter) const;  // nullptr when not given or None
  int64_t integer_or(size_t parameter, int64_t fallback) const;
  bool boolean_or(size_t parameter, bool fallback) const;

 private:
  [[noreturn]] void fail_type(size_t parameter, std::string_view expected) const;

  std::string_view function_;
  std::vector<std::string_view> parameters_;
  std::vector<const Value*> values_;
};

}  // namespace dunlin::jinja
