// Objects: the values of a rendering that have identity or can be called, and the Runtime that owns
// them.
#pragma once

#include <ctime>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tokenizer/jinja/ast.h"
#include "tokenizer/jinja/budget.h"
#include "tokenizer/jinja/value.h"

namespace dunlin::jinja {

// Variables of one block; names outlive it (they are the AST's or literals).
struct Scope {
  std::vector<std::pair<std::string_view, Value>> variables;
  const Scope* parent = nullptr;

  const Value* find_here(std::string_view name) const;
  const Value* find(std::string_view name) const;
  void set(std::string_view name, Value value);
};

// Positional and keyword arguments of a call, filter or test.
struct Arguments {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> keyword;
};

struct Runtime;

struct Object {
  enum class Kind { name_space, loop, macro, cycler, joiner, function };
  explicit Object(Kind object_kind) : kind(object_kind) {}
  virtual ~Object() = default;
  Kind kind;
};

struct NamespaceObject : Object {
  NamespaceObject() : Object(Kind::name_space) {}
  std::vector<std::pair<std::string, Value>> attributes;
  const Value* find(std::string_view name) const;
  void set(std::string_view name, Value value);
};

// The variable `loop`. Its items are released when the loop ends.
struct LoopObject : Object {
  LoopObject() : Object(Kind::loop) {}
  std::vector<Value> items;
  size_t index = 0;
  int depth = 0;
  const Statement* recursive = nullptr;  // the loop that loop(...) runs again
  std::weak_ptr<Scope> scope;            // the scope around it
  std::optional<std::vector<Value>> last_changed;
};

// A macro, or the caller() of a call block. It can be called as long as the scope it was defined in
// is alive.
struct MacroObject : Object {
  MacroObject() : Object(Kind::macro) {}
  const Macro* definition = nullptr;
  std::weak_ptr<Scope> scope;
};

struct CyclerObject : Object {
  CyclerObject() : Object(Kind::cycler) {}
  std::vector<Value> items;
  size_t position = 0;
};

struct JoinerObject : Object {
  JoinerObject() : Object(Kind::joiner) {}
  Value separator;
  bool used = false;
};

using GlobalFunction = Value (*)(Runtime&, const Arguments&);
struct FunctionObject : Object {
  FunctionObject() : Object(Kind::function) {}
  GlobalFunction function = nullptr;
};

// One rendering's resources. Objects live until it ends; each is charged to the budget.
struct Runtime {
  Budget budget;
  std::optional<std::tm> now;  // for strftime_now; absent: the local time
  std::vector<std::unique_ptr<Object>> objects;

  template <typename T>
  T* make_object() {
    constexpr size_t kBytes = sizeof(T) + 64;
    budget.work(kBytes);
    auto object = std::make_unique<T>();
    T* pointer = object.get();
    objects.push_back(std::move(object));
    return pointer;
  }
};

}  // namespace dunlin::jinja
