// Value: what a template computes with, after Python's data model (None, bool, int, float, str,
// list, tuple, dict, ...).
#pragma once

#include <cstdint>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "tokenizer/jinja/text.h"

namespace dunlin::jinja {

class Value;
class Dict;
class Runtime;
struct Sequence;
struct BoundMethod;
struct Builtin;  // a global function (builtins.h)
struct Object;   // what has identity: namespaces, loops, macros (runtime.h)

struct None {};
// A missing variable, key or attribute; most uses of it are errors with this message.
struct Undefined {
  std::shared_ptr<const std::string> why;
};

// Cheap to copy. Composite values are immutable and at most kMaxValueDepth deep, so that freeing
// them cannot overflow the stack; cycles are only possible through Objects, which values do not
// own.
class Value {
 public:
  Value() = default;  // None
  explicit Value(bool value) : data_(value) {}
  explicit Value(int64_t value) : data_(value) {}
  explicit Value(double value) : data_(value) {}
  explicit Value(Text text) : data_(std::make_shared<const Text>(std::move(text))) {}
  explicit Value(std::shared_ptr<const Sequence> value) : data_(std::move(value)) {}
  explicit Value(std::shared_ptr<const Dict> value) : data_(std::move(value)) {}
  explicit Value(std::shared_ptr<const BoundMethod> value) : data_(std::move(value)) {}
  explicit Value(const Builtin* function) : data_(function) {}
  explicit Value(Object* object) : data_(object) {}
  static Value undefined(std::string why);

  bool is_none() const { return std::holds_alternative<None>(data_); }
  bool is_undefined() const { return std::holds_alternative<Undefined>(data_); }
  const bool* boolean() const { return std::get_if<bool>(&data_); }
  const int64_t* integer() const { return std::get_if<int64_t>(&data_); }
  const double* floating() const { return std::get_if<double>(&data_); }
  const Text* text() const { return shared<Text>(); }
  const Sequence* sequence() const { return shared<Sequence>(); }
  const Dict* dict() const { return shared<Dict>(); }
  const BoundMethod* method() const { return shared<BoundMethod>(); }
  const Builtin* function() const { return plain<const Builtin*>(); }
  Object* object() const { return plain<Object*>(); }
  size_t type() const { return data_.index(); }

  // An int, or a bool as 0 or 1.
  std::optional<int64_t> as_integer() const;
  // Any number; a 64-bit integer and a double are both exact in a long double.
  std::optional<long double> as_number() const;

  bool truthy() const;
  int depth() const;              // 0 for a scalar
  std::string type_name() const;  // as Python names it: "str", "NoneType"
  // Throws the message of an undefined value; everything else passes.
  void require_defined() const;

 private:
  template <typename T>
  const T* shared() const {
    const auto* pointer = std::get_if<std::shared_ptr<const T>>(&data_);
    return pointer ? pointer->get() : nullptr;
  }
  template <typename T>
  T plain() const {
    const T* pointer = std::get_if<T>(&data_);
    return pointer ? *pointer : nullptr;
  }

  std::variant<None, Undefined, bool, int64_t, double, std::shared_ptr<const Text>,
               std::shared_ptr<const Sequence>, std::shared_ptr<const Dict>,
               std::shared_ptr<const BoundMethod>, const Builtin*, Object*>
      data_;
};

struct Sequence {
  enum class Kind { list, tuple, range, view, iterator };
  Kind kind = Kind::list;
  std::vector<Value> items;
  std::string label;  // range and view: how repr() names it
  int depth = 1;
  mutable size_t consumed =
      0;  // iterator: items already taken; iterators exist within one rendering only

  bool is_list_or_tuple() const { return kind <= Kind::tuple; }
  bool indexable() const { return kind <= Kind::range; }
};

struct BoundMethod {
  Value self;
  std::string name;
};

// Insertion-ordered; 1, 1.0 and True are the same key. Looking up scans the entries, which objects in
// JSON have few of.
class Dict {
 public:
  struct Entry {
    Value key;
    Value value;
  };
  const std::vector<Entry>& entries() const { return entries_; }
  // nullptr when absent; throws on a key that Python cannot hash.
  const Value* find(const Value& key, Runtime& runtime) const;
  const Value* find(std::string_view key, Runtime& runtime) const;
  void set(Value key, Value value, Runtime& runtime);
  // For a key that is known to be new.
  void append(Value key, Value value);
  int depth() const { return depth_; }

 private:
  void include_depth(const Value& part);
  std::vector<Entry> entries_;
  int depth_ = 1;
};

// An input: every string of it is untrusted. Throws beyond kMaxValueDepth or for an integer beyond
// 64 bits.
Value value_from_json(const nlohmann::ordered_json& json);

// The items that iterating over `value` gives; an iterator is consumed. Throws when it is not
// iterable.
std::vector<Value> iterate(const Value& value, Runtime& runtime);
bool is_iterable(const Value& value);
// len(value); throws when there is none.
int64_t length(const Value& value, Runtime& runtime);

}  // namespace dunlin::jinja
