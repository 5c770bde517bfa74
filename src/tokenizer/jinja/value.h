// Value: what a template computes with, after Python's data model (None, bool, int, float, str,
// list, tuple, dict, ...).
#pragma once

#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include "tokenizer/jinja/budget.h"
#include "tokenizer/jinja/text.h"

namespace dunlin::jinja {

class Value;
class Dict;
struct Sequence;
struct BoundMethod;
struct Object;  // mutable or callable things that the Runtime owns (objects.h)

using TextPointer = std::shared_ptr<const Text>;
using SequencePointer = std::shared_ptr<const Sequence>;
using DictPointer = std::shared_ptr<const Dict>;
using MethodPointer = std::shared_ptr<const BoundMethod>;

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
  using Data = std::variant<None, Undefined, bool, int64_t, double, TextPointer, SequencePointer,
                            DictPointer, MethodPointer, Object*>;

  Value() = default;  // None
  explicit Value(bool value) : data_(value) {}
  explicit Value(int64_t value) : data_(value) {}
  explicit Value(double value) : data_(value) {}
  explicit Value(Text text) : data_(std::make_shared<const Text>(std::move(text))) {}
  explicit Value(SequencePointer value) : data_(std::move(value)) {}
  explicit Value(DictPointer value) : data_(std::move(value)) {}
  explicit Value(MethodPointer value) : data_(std::move(value)) {}
  explicit Value(Object* object) : data_(object) {}
  static Value undefined(std::string why);

  bool is_none() const { return std::holds_alternative<None>(data_); }
  bool is_undefined() const { return std::holds_alternative<Undefined>(data_); }
  const bool* boolean() const { return std::get_if<bool>(&data_); }
  const int64_t* integer() const { return std::get_if<int64_t>(&data_); }
  const double* floating() const { return std::get_if<double>(&data_); }
  const Text* text() const;
  const Sequence* sequence() const;
  const Dict* dict() const;
  const BoundMethod* method() const;
  Object* object() const;
  const Data& data() const { return data_; }

  bool truthy() const;
  int depth() const;              // 0 for a scalar
  std::string type_name() const;  // as Python names it: "str", "NoneType"
  const std::string& undefined_message() const { return *std::get<Undefined>(data_).why; }

 private:
  Data data_;
};

struct Sequence {
  enum class Kind { list, tuple, range, view, iterator };
  Kind kind = Kind::list;
  std::vector<Value> items;
  std::string label;  // range and view: what they print as, "range(0, 3)" or "dict_items"
  int depth = 1;
  mutable size_t consumed =
      0;  // iterator: items already taken; iterators exist within one rendering only

  bool indexable() const { return kind <= Kind::range; }
};

struct BoundMethod {
  Value self;
  std::string name;
};

// Insertion-ordered; keys are None, bool, int, float, str or tuples of them, and 1, 1.0 and True
// are the same key.
class Dict {
 public:
  struct Entry {
    Value key;
    Value value;
  };
  const std::vector<Entry>& entries() const { return entries_; }
  size_t size() const { return entries_.size(); }
  const Value* find(const Value& key,
                    Budget& budget) const;  // nullptr when absent; throws on an unhashable key
  const Value* find(std::string_view key) const;
  void set(Value key, Value value, Budget& budget);
  int depth() const { return depth_; }

 private:
  const Value* find_encoded(const std::string& encoded) const;
  std::vector<Entry> entries_;
  std::unordered_map<std::string, size_t> index_;
  int depth_ = 1;
};

// The bytes that stand for a key: equal for equal keys. Throws TemplateError for an unhashable
// value.
std::string encode_key(const Value& key, Budget& budget);

// Constructors that charge the budget and check the depth.
Value make_string(Text text, Budget& budget);
Value make_sequence(Sequence::Kind kind, std::vector<Value> items, Budget& budget,
                    std::string label = {});
inline Value make_list(std::vector<Value> items, Budget& budget) {
  return make_sequence(Sequence::Kind::list, std::move(items), budget);
}
Value make_dict(Dict dict);

// An input: every string of it is untrusted. Throws beyond kMaxValueDepth or for an integer beyond
// 64 bits.
Value value_from_json(const nlohmann::ordered_json& json);

// The items that iterating over `value` gives; an iterator is consumed. Throws when it is not
// iterable.
std::vector<Value> iterate(const Value& value, Budget& budget);
bool is_iterable(const Value& value);
// len(value); throws when there is none.
int64_t length(const Value& value, Budget& budget);

[[noreturn]] void fail_undefined(const Value& value);
inline void require_defined(const Value& value) {
  if (value.is_undefined()) fail_undefined(value);
}

}  // namespace dunlin::jinja
