// The names a template can use without defining them: filters, tests, global functions, and methods
// of strings, dicts, loops and cyclers. Each is a row of a table.
#pragma once

#include <array>
#include <optional>
#include <string_view>

#include "tokenizer/jinja/runtime.h"

namespace dunlin::jinja {

class Call;

struct Builtin {
  std::string_view name;
  std::array<std::string_view, 4> parameters;  // "*": any arguments, which `run` reads itself
  size_t required;                             // so many of them must be given
  Value (*run)(Call& call);  // throws TemplateError as the Python original raises an exception
};

// nullptr when there is none.
const Builtin* find_filter(std::string_view name);
const Builtin* find_sequence_filter(std::string_view name);  // those of lists and dicts alone
const Builtin* find_test(std::string_view name);
const Builtin* find_global(std::string_view name);
const Builtin* find_method(const Value& self, std::string_view name);

// `self` is a filter's input, a test's value or a method's object. Throws for missing, unknown and
// surplus arguments.
Value run_builtin(const Builtin& builtin, Runtime& runtime, const Value& self,
                  const Arguments& arguments);

// One call: its arguments by the index of their parameters.
class Call {
 public:
  Call(const Builtin& builtin, Runtime& call_runtime, const Value& call_self,
       const Arguments& call_arguments);

  Runtime& runtime;
  const Value& self;
  const Arguments& arguments;

  bool given(size_t parameter) const { return values_[parameter] != nullptr; }
  // The argument; nullptr when it is not given or None.
  const Value* find(size_t parameter) const;
  // The argument, or None.
  Value value(size_t parameter) const { return find(parameter) ? *find(parameter) : Value(); }
  // A required string.
  const Text& text(size_t parameter) const;
  int64_t integer_or(size_t parameter, int64_t fallback) const;
  bool is_true(size_t parameter) const { return find(parameter) && find(parameter)->truthy(); }
  // str(self)
  Text self_text() const;
  std::vector<Value> items() const { return iterate(self, runtime); }

 private:
  [[noreturn]] void fail_type(size_t parameter, std::string_view expected) const;

  const Builtin& builtin_;
  std::array<const Value*, 4> values_ = {};
};

template <size_t size>
const Builtin* find_builtin(const Builtin (&table)[size], std::string_view name) {
  for (const Builtin& builtin : table) {
    if (builtin.name == name) return &builtin;
  }
  return nullptr;
}

}  // namespace dunlin::jinja
