// Values: construction, truth, length, iteration and dictionaries.
#include "tokenizer/jinja/value.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>

#include "tokenizer/jinja/operators.h"
#include "tokenizer/jinja/runtime.h"
#include "tokenizer/jinja/text_functions.h"

namespace dunlin::jinja {
namespace {

constexpr size_t kStringOverhead =
    96;  // bytes of a string value beside its text: control block, Text, origins

void check_depth(int depth) {
  if (depth > kMaxValueDepth) throw TemplateError("a value is nested deeper than 100 levels");
}

Value make_sequence(Sequence::Kind kind, std::vector<Value> items, std::string label = {}) {
  auto sequence = std::make_shared<Sequence>();
  for (const Value& item : items) sequence->depth = std::max(sequence->depth, 1 + item.depth());
  check_depth(sequence->depth);
  sequence->kind = kind;
  sequence->items = std::move(items);
  sequence->label = std::move(label);
  return Value(std::shared_ptr<const Sequence>(std::move(sequence)));
}

Value convert(const nlohmann::ordered_json& json, int depth) {
  check_depth(depth);
  switch (json.type()) {
    case nlohmann::ordered_json::value_t::boolean:
      return Value(json.get<bool>());
    case nlohmann::ordered_json::value_t::number_integer:
      return Value(json.get<int64_t>());
    case nlohmann::ordered_json::value_t::number_unsigned:
      if (json.get<uint64_t>() > static_cast<uint64_t>(std::numeric_limits<int64_t>::max()))
        throw TemplateError("an integer of the inputs does not fit in 64 bits");
      return Value(json.get<int64_t>());
    case nlohmann::ordered_json::value_t::number_float:
      return Value(json.get<double>());
    case nlohmann::ordered_json::value_t::string:
      return Value(Text(json.get<std::string>(), false));
    case nlohmann::ordered_json::value_t::array: {
      std::vector<Value> items;
      for (const auto& item : json) items.push_back(convert(item, depth + 1));
      return make_sequence(Sequence::Kind::list, std::move(items));
    }
    case nlohmann::ordered_json::value_t::object: {
      auto dict = std::make_shared<Dict>();
      for (const auto& [key, item] : json.items())
        dict->append(Value(Text(key, false)), convert(item, depth + 1));
      return Value(std::shared_ptr<const Dict>(std::move(dict)));
    }
    default:
      return Value();
  }
}

}  // namespace

Value Value::undefined(std::string why) {
  Value value;
  value.data_ = Undefined{std::make_shared<const std::string>(std::move(why))};
  return value;
}

void Value::require_defined() const {
  if (is_undefined()) throw TemplateError(*std::get<Undefined>(data_).why);
}

std::optional<int64_t> Value::as_integer() const {
  if (integer()) return *integer();
  if (boolean()) return *boolean() ? 1 : 0;
  return std::nullopt;
}

std::optional<long double> Value::as_number() const {
  if (floating()) return static_cast<long double>(*floating());
  if (const auto whole = as_integer()) return static_cast<long double>(*whole);
  return std::nullopt;
}

bool Value::truthy() const {
  if (is_none() || is_undefined()) return false;
  if (const auto number = as_number()) return *number != 0;
  if (const Text* t = text()) return t->size() > 0;
  if (const Sequence* s = sequence())
    return s->kind == Sequence::Kind::iterator || !s->items.empty();
  if (const Dict* d = dict()) return !d->entries().empty();
  return true;
}

int Value::depth() const {
  if (const Sequence* s = sequence()) return s->depth;
  if (const Dict* d = dict()) return d->depth();
  if (const BoundMethod* m = method()) return 1 + m->self.depth();
  return 0;
}

std::string Value::type_name() const {
  static constexpr const char* kNames[] = {"NoneType", "Undefined", "bool", "int",    "float",
                                           "str",      "list",      "dict", "method", "function"};
  static constexpr const char* kSequences[] = {"list", "tuple", "range", "dict view", "generator"};
  static constexpr const char* kObjects[] = {"Namespace", "LoopContext", "Macro", "Cycler",
                                             "Joiner"};
  if (const Sequence* s = sequence()) return kSequences[static_cast<size_t>(s->kind)];
  if (object()) return kObjects[static_cast<size_t>(object()->kind)];
  return kNames[type()];
}

const Value* Dict::find(std::string_view key, Runtime& runtime) const {
  runtime.work(entries_.size() * sizeof(Entry));
  for (const Entry& entry : entries_) {
    const Text* text = entry.key.text();
    if (!text || text->size() != key.size()) continue;
    runtime.work(key.size());
    if (text->bytes() == key) return &entry.value;
  }
  return nullptr;
}

const Value* Dict::find(const Value& key, Runtime& runtime) const {
  if (const Text* text = key.text()) return find(text->bytes(), runtime);
  const bool hashable = key.is_none() || key.as_number() ||
                        (key.sequence() && key.sequence()->kind == Sequence::Kind::tuple);
  if (!hashable) throw TemplateError(fmt::format("unhashable type: '{}'", key.type_name()));
  for (const Entry& entry : entries_) {
    if (equals(entry.key, key, runtime)) return &entry.value;
  }
  return nullptr;
}

void Dict::set(Value key, Value value, Runtime& runtime) {
  runtime.work(sizeof(Entry));
  const Value* old = find(key, runtime);
  if (!old) return append(std::move(key), std::move(value));
  include_depth(value);
  for (Entry& entry : entries_) {
    if (&entry.value == old) entry.value = std::move(value);
  }
}

void Dict::append(Value key, Value value) {
  include_depth(key);
  include_depth(value);
  entries_.push_back({std::move(key), std::move(value)});
}

void Dict::include_depth(const Value& part) {
  depth_ = std::max(depth_, 1 + part.depth());
  check_depth(depth_);
}

Value Runtime::string(Text text) {
  work(text.size() + text.trusted().size() * sizeof(ByteRange) + kStringOverhead);
  return Value(std::move(text));
}

Value Runtime::sequence(Sequence::Kind kind, std::vector<Value> items, std::string label) {
  work(items.size() * sizeof(Value) + sizeof(Sequence));
  return make_sequence(kind, std::move(items), std::move(label));
}

Value Runtime::method(const Value& self, std::string_view name) {
  work(sizeof(BoundMethod) + name.size());
  check_depth(self.depth() + 1);
  return Value(std::make_shared<const BoundMethod>(BoundMethod{self, std::string(name)}));
}

Value value_from_json(const nlohmann::ordered_json& json) {
  return convert(json, 0);
}

bool is_iterable(const Value& value) {
  return value.is_undefined() || value.text() || value.sequence() || value.dict();
}

std::vector<Value> iterate(const Value& value, Runtime& runtime) {
  std::vector<Value> items;
  if (const Sequence* s = value.sequence()) {
    runtime.work(s->items.size() * sizeof(Value));
    items.assign(s->items.begin() + static_cast<std::ptrdiff_t>(s->consumed), s->items.end());
    if (s->kind == Sequence::Kind::iterator) s->consumed = s->items.size();
  } else if (const Dict* d = value.dict()) {
    runtime.work(d->entries().size() * sizeof(Value));
    for (const auto& entry : d->entries()) items.push_back(entry.key);
  } else if (const Text* t = value.text()) {
    for (size_t position = 0; position < t->size();) {
      const size_t begin = position;
      next_code_point(t->bytes(), position);
      items.push_back(runtime.string(t->slice(begin, position)));
    }
  } else if (!value.is_undefined()) {
    throw TemplateError(fmt::format("'{}' object is not iterable", value.type_name()));
  }
  return items;
}

int64_t length(const Value& value, Runtime& runtime) {
  if (value.is_undefined()) return 0;
  if (const Text* t = value.text()) {
    runtime.work(t->size());
    return static_cast<int64_t>(count_code_points(t->bytes()));
  }
  const Sequence* s = value.sequence();
  if (s && s->kind != Sequence::Kind::iterator) return static_cast<int64_t>(s->items.size());
  if (const Dict* d = value.dict()) return static_cast<int64_t>(d->entries().size());
  throw TemplateError(fmt::format("object of type '{}' has no len()", value.type_name()));
}

}  // namespace dunlin::jinja
