// Values: construction, truth, length, iteration and dictionaries.
#include "tokenizer/jinja/value.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "tokenizer/jinja/objects.h"
#include "tokenizer/jinja/unicode.h"

namespace dunlin::jinja {
namespace {

constexpr size_t kStringOverhead =
    96;  // bytes of a string value beside its text: control block, Text, origins
constexpr size_t kIndexedDictSize = 8;  // up to this many keys a scan is as fast as the index

void check_depth(int depth) {
  if (depth > kMaxValueDepth) throw TemplateError("a value is nested deeper than 100 levels");
}

}  // namespace

Value Value::undefined(std::string why) {
  Value value;
  value.data_ = Undefined{std::make_shared<const std::string>(std::move(why))};
  return value;
}

const Text* Value::text() const {
  const auto* pointer = std::get_if<TextPointer>(&data_);
  return pointer ? pointer->get() : nullptr;
}
const Sequence* Value::sequence() const {
  const auto* pointer = std::get_if<SequencePointer>(&data_);
  return pointer ? pointer->get() : nullptr;
}
const Dict* Value::dict() const {
  const auto* pointer = std::get_if<DictPointer>(&data_);
  return pointer ? pointer->get() : nullptr;
}
const BoundMethod* Value::method() const {
  const auto* pointer = std::get_if<MethodPointer>(&data_);
  return pointer ? pointer->get() : nullptr;
}
Object* Value::object() const {
  const auto* pointer = std::get_if<Object*>(&data_);
  return pointer ? *pointer : nullptr;
}

bool Value::truthy() const {
  if (is_none() || is_undefined()) return false;
  if (const bool* b = boolean()) return *b;
  if (const int64_t* i = integer()) return *i != 0;
  if (const double* f = floating()) return *f != 0.0;
  if (const Text* t = text()) return t->size() > 0;
  if (const Sequence* s = sequence())
    return s->kind == Sequence::Kind::iterator || !s->items.empty();
  if (const Dict* d = dict()) return d->size() > 0;
  return true;
}

int Value::depth() const {
  if (const Sequence* s = sequence()) return s->depth;
  if (const Dict* d = dict()) return d->depth();
  if (const BoundMethod* m = method()) return 1 + m->self.depth();
  return 0;
}

std::string Value::type_name() const {
  static constexpr const char* kNames[] = {"NoneType", "Undefined", "bool", "int",   "float",
                                           "str",      "list",      "dict", "method"};
  if (const Sequence* s = sequence()) {
    static constexpr const char* kSequences[] = {"list", "tuple", "range", "dict view",
                                                 "generator"};
    return kSequences[static_cast<size_t>(s->kind)];
  }
  if (object()) {
    static constexpr const char* kObjects[] = {"Namespace", "LoopContext", "Macro",
                                               "Cycler",    "Joiner",      "function"};
    return kObjects[static_cast<size_t>(object()->kind)];
  }
  return kNames[data_.index()];
}

std::string encode_key(const Value& key, Budget& budget) {
  if (const Text* t = key.text()) {
    budget.work(t->size());
    return fmt::format("s{}", t->bytes());
  }
  if (key.is_none()) return "n";
  if (key.boolean()) return *key.boolean() ? "i1" : "i0";
  if (key.integer()) return fmt::format("i{}", *key.integer());
  if (const double* f = key.floating()) {
    const bool integral = std::trunc(*f) == *f && std::abs(*f) < 9.2e18;
    return integral ? fmt::format("i{}", static_cast<int64_t>(*f)) : fmt::format("f{}", *f);
  }
  const Sequence* s = key.sequence();
  if (!s || s->kind != Sequence::Kind::tuple) {
    throw TemplateError(fmt::format("unhashable type: '{}'", key.type_name()));
  }
  std::string encoded = "t";
  for (const Value& item : s->items) {
    budget.step();
    const std::string part = encode_key(item, budget);
    budget.work(part.size() + sizeof(size_t));
    encoded += fmt::format("{}:{}", part.size(), part);
  }
  return encoded;
}

const Value* Dict::find_encoded(const std::string& encoded) const {
  const auto found = index_.find(encoded);
  return found == index_.end() ? nullptr : &entries_[found->second].value;
}

const Value* Dict::find(const Value& key, Budget& budget) const {
  if (const Text* text = key.text()) return find(text->bytes());
  return find_encoded(encode_key(key, budget));
}

const Value* Dict::find(std::string_view key) const {
  if (entries_.size() > kIndexedDictSize) return find_encoded(fmt::format("s{}", key));
  for (const Entry& entry : entries_) {
    const Text* text = entry.key.text();
    if (text && text->bytes() == key) return &entry.value;
  }
  return nullptr;
}

void Dict::set(Value key, Value value, Budget& budget) {
  depth_ = std::max({depth_, 1 + key.depth(), 1 + value.depth()});
  check_depth(depth_);
  std::string encoded = encode_key(key, budget);
  budget.work(sizeof(Entry) + encoded.size() + kStringOverhead);
  const auto [position, added] = index_.try_emplace(std::move(encoded), entries_.size());
  if (added) {
    entries_.push_back({std::move(key), std::move(value)});
  } else {
    entries_[position->second].value = std::move(value);
  }
}

Value make_string(Text text, Budget& budget) {
  budget.work(text.size() + text.trusted().size() * sizeof(ByteRange) + kStringOverhead);
  return Value(std::move(text));
}

Value make_sequence(Sequence::Kind kind, std::vector<Value> items, Budget& budget,
                    std::string label) {
  budget.work(items.size() * sizeof(Value) + sizeof(Sequence));
  auto sequence = std::make_shared<Sequence>();
  for (const Value& item : items) sequence->depth = std::max(sequence->depth, 1 + item.depth());
  check_depth(sequence->depth);
  sequence->kind = kind;
  sequence->items = std::move(items);
  sequence->label = std::move(label);
  return Value(SequencePointer(std::move(sequence)));
}

Value make_dict(Dict dict) {
  return Value(std::make_shared<const Dict>(std::move(dict)));
}

namespace {

// The budget of converting inputs: their size is the caller's to bound, and the conversion is
// linear in it.
Value convert(const nlohmann::ordered_json& json, int depth);

Value convert_array(const nlohmann::ordered_json& json, int depth) {
  auto sequence = std::make_shared<Sequence>();
  sequence->items.reserve(json.size());
  for (const auto& item : json) {
    sequence->items.push_back(convert(item, depth + 1));
    sequence->depth = std::max(sequence->depth, 1 + sequence->items.back().depth());
  }
  return Value(SequencePointer(std::move(sequence)));
}

Value convert_object(const nlohmann::ordered_json& json, int depth) {
  Dict dict;
  for (const auto& [key, item] : json.items()) {
    Budget one_entry;
    dict.set(Value(Text(key, false)), convert(item, depth + 1), one_entry);
  }
  return make_dict(std::move(dict));
}

Value convert(const nlohmann::ordered_json& json, int depth) {
  check_depth(depth);
  switch (json.type()) {
    case nlohmann::ordered_json::value_t::boolean:
      return Value(json.get<bool>());
    case nlohmann::ordered_json::value_t::number_integer:
      return Value(json.get<int64_t>());
    case nlohmann::ordered_json::value_t::number_unsigned:
      if (json.get<uint64_t>() > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
        throw TemplateError("an integer of the inputs does not fit in 64 bits");
      }
      return Value(json.get<int64_t>());
    case nlohmann::ordered_json::value_t::number_float:
      return Value(json.get<double>());
    case nlohmann::ordered_json::value_t::string:
      return Value(Text(json.get<std::string>(), false));
    case nlohmann::ordered_json::value_t::array:
      return convert_array(json, depth);
    case nlohmann::ordered_json::value_t::object:
      return convert_object(json, depth);
    default:
      return Value();
  }
}

}  // namespace

Value value_from_json(const nlohmann::ordered_json& json) {
  return convert(json, 0);
}

bool is_iterable(const Value& value) {
  if (const Object* object = value.object()) return object->kind == Object::Kind::loop;
  return value.is_undefined() || value.text() || value.sequence() || value.dict();
}

std::vector<Value> iterate(const Value& value, Budget& budget) {
  std::vector<Value> items;
  if (const Sequence* s = value.sequence()) {
    budget.work(s->items.size() * sizeof(Value));
    items.assign(s->items.begin() + static_cast<std::ptrdiff_t>(s->consumed), s->items.end());
    if (s->kind == Sequence::Kind::iterator) s->consumed = s->items.size();
  } else if (const Dict* d = value.dict()) {
    budget.work(d->size() * sizeof(Value));
    for (const auto& entry : d->entries()) items.push_back(entry.key);
  } else if (const Text* t = value.text()) {
    for (size_t position = 0; position < t->size();) {
      const size_t begin = position;
      next_code_point(t->bytes(), position);
      items.push_back(make_string(t->slice(begin, position), budget));
    }
  } else if (!value.is_undefined()) {
    throw TemplateError(fmt::format("'{}' object is not iterable", value.type_name()));
  }
  return items;
}

int64_t length(const Value& value, Budget& budget) {
  if (value.is_undefined()) return 0;
  if (const Text* t = value.text()) {
    budget.work(t->size());
    return static_cast<int64_t>(count_code_points(t->bytes()));
  }
  const Sequence* s = value.sequence();
  if (s && s->kind != Sequence::Kind::iterator) return static_cast<int64_t>(s->items.size());
  if (const Dict* d = value.dict()) return static_cast<int64_t>(d->size());
  if (value.object() && value.object()->kind == Object::Kind::loop) {
    return static_cast<int64_t>(static_cast<const LoopObject*>(value.object())->items.size());
  }
  throw TemplateError(fmt::format("object of type '{}' has no len()", value.type_name()));
}

void fail_undefined(const Value& value) {
  throw TemplateError(value.undefined_message());
}

}  // namespace dunlin::jinja
