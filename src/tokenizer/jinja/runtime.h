// Runtime: what one rendering may still spend, and what it owns.
#pragma once

#include <ctime>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tokenizer/jinja/limits.h"
#include "tokenizer/jinja/template_error.h"
#include "tokenizer/jinja/value.h"

namespace dunlin::jinja {

// Variables of one block.
struct Scope {
  std::map<std::string, Value, std::less<>> names;
  const Scope* parent = nullptr;

  void set(const std::string& name, Value value) { names[name] = std::move(value); }
  const Value* find(std::string_view name) const;
};

struct Frame;  // program.h

struct Object {
  enum class Kind { name_space, loop, macro, cycler, joiner };
  explicit Object(Kind object_kind) : kind(object_kind) {}
  virtual ~Object() = default;
  Kind kind;
};

struct NamespaceObject : Object {
  NamespaceObject() : Object(Kind::name_space) {}
  Dict attributes;
};

// The variable `loop`. Its items are released when the loop ends.
struct LoopObject : Object {
  LoopObject() : Object(Kind::loop) {}
  std::vector<Value> items;
  size_t index = 0;
  int depth = 0;                           // 0: not inside another loop of the same recursion
  std::optional<std::vector<Value>> seen;  // by loop.changed
  std::function<Value(const Value& items, Frame& frame)> recurse;  // loop(items), or nothing
};

struct Macro;  // program.h

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
  size_t index = 0;
};

// Gives its separator on every call but the first.
struct JoinerObject : Object {
  JoinerObject() : Object(Kind::joiner) {}
  Value separator;
  bool used = false;
};

// Counts a level while it lives, and throws beyond the limit.
class Level {
 public:
  Level(int& level, int limit, const char* what);
  ~Level() { --level_; }
  Level(const Level&) = delete;
  Level& operator=(const Level&) = delete;

 private:
  int& level_;
};

// Positional and keyword arguments of a call, filter or test.
struct Arguments {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> keyword;
};

class Runtime {
 public:
  explicit Runtime(std::optional<std::tm> now) : now_(now) {}

  // One node evaluated or one item visited.
  void step() {
    if (--steps_left_ < 0) throw TemplateError("the template takes more than 1000000 steps");
  }
  // `bytes` about to be made, copied or scanned.
  void work(size_t bytes) {
    if (bytes > work_left_) throw TemplateError("the template makes or scans more than 64 MiB");
    work_left_ -= bytes;
  }

  // Values that are charged for; lists and what they hold are at most kMaxValueDepth deep.
  Value string(Text text);
  Value string(std::string text) { return string(Text(std::move(text), false)); }
  Value sequence(Sequence::Kind kind, std::vector<Value> items, std::string label = {});
  Value list(std::vector<Value> items) { return sequence(Sequence::Kind::list, std::move(items)); }
  Value pair(Value first, Value second) {
    return sequence(Sequence::Kind::tuple, {std::move(first), std::move(second)});
  }
  // What filters give where Python has a generator.
  Value iterator(std::vector<Value> items) {
    return sequence(Sequence::Kind::iterator, std::move(items));
  }
  Value method(const Value& self, std::string_view name);

  // An object that lives until the rendering ends.
  template <typename T>
  T* object() {
    work(sizeof(T) + kObjectOverhead);
    auto owned = std::make_unique<T>();
    T* pointer = owned.get();
    objects_.push_back(std::move(owned));
    return pointer;
  }

  int builtin_level = 0;  // built-ins that built-ins call, as map calls a filter

  // For strftime_now.
  const std::optional<std::tm>& now() const { return now_; }

 private:
  static constexpr size_t kObjectOverhead = 64;  // bytes beside the object itself
  int64_t steps_left_ = kMaxSteps;
  size_t work_left_ = kMaxWorkBytes;
  std::optional<std::tm> now_;  // absent: the local time
  std::vector<std::unique_ptr<Object>> objects_;
};

}  // namespace dunlin::jinja
