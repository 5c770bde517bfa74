// Attributes, items and slices, in the order in which Jinja2's sandbox resolves them.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "tokenizer/jinja/builtins.h"
#include "tokenizer/jinja/operators.h"
#include "tokenizer/jinja/unicode.h"

namespace dunlin::jinja {
namespace {

// Methods that exist in Python, change their object or are of no use here, and so are refused by
// name.
constexpr std::string_view kRefusedDictMethods[] = {"clear",      "pop",    "popitem",
                                                    "setdefault", "update", "fromkeys"};
constexpr std::string_view kRefusedListMethods[] = {"append", "clear", "copy",   "extend",
                                                    "insert", "pop",   "remove", "reverse",
                                                    "sort",   "count", "index"};

Value missing(const Value& object, const std::string& what) {
  if (object.dict())
    return Value::undefined(fmt::format("'dict object' has no attribute '{}'", what));
  return Value::undefined(
      fmt::format("'{} object' has no attribute '{}'", object.type_name(), what));
}

void refuse_internal(const Value& object, const std::string& name) {
  const bool internal = name.size() >= 2 && name[0] == '_' && name[1] == '_';
  const auto refused = [&](const auto& names) {
    return std::find(std::begin(names), std::end(names), name) != std::end(names);
  };
  const bool mutating = (object.dict() && refused(kRefusedDictMethods)) ||
                        (object.sequence() && object.sequence()->kind == Sequence::Kind::list &&
                         refused(kRefusedListMethods));
  if (internal || mutating) {
    throw TemplateError(
        fmt::format("access to attribute '{}' of '{}' object is unsafe", name, object.type_name()));
  }
}

std::optional<Value> loop_attribute(const LoopObject& loop, std::string_view name) {
  const auto count = static_cast<int64_t>(loop.items.size());
  const auto index = static_cast<int64_t>(loop.index);
  if (name == "index") return Value(index + 1);
  if (name == "index0") return Value(index);
  if (name == "revindex") return Value(count - index);
  if (name == "revindex0") return Value(count - index - 1);
  if (name == "first") return Value(index == 0);
  if (name == "last") return Value(index + 1 >= count);
  if (name == "length") return Value(count);
  if (name == "depth") return Value(int64_t{loop.depth} + 1);
  if (name == "depth0") return Value(int64_t{loop.depth});
  if (name == "previtem") {
    if (index == 0 || index > count) return Value::undefined("there is no previous item");
    return loop.items[loop.index - 1];
  }
  if (name == "nextitem") {
    if (index + 1 >= count) return Value::undefined("there is no next item");
    return loop.items[loop.index + 1];
  }
  return std::nullopt;
}

std::optional<Value> object_attribute(const Object& object, std::string_view name) {
  if (object.kind == Object::Kind::name_space) {
    const Value* value = static_cast<const NamespaceObject&>(object).find(name);
    return value ? std::optional(*value) : std::nullopt;
  }
  if (object.kind == Object::Kind::loop)
    return loop_attribute(static_cast<const LoopObject&>(object), name);
  if (object.kind == Object::Kind::cycler && name == "current") {
    const auto& cycler = static_cast<const CyclerObject&>(object);
    return cycler.items[cycler.position];
  }
  if (object.kind == Object::Kind::macro && name == "name") {
    return Value(Text(static_cast<const MacroObject&>(object).definition->name, true));
  }
  return std::nullopt;
}

// What Python's getattr() finds.
std::optional<Value> attribute(Runtime& runtime, const Value& object, const std::string& name) {
  if (object.object()) {
    if (auto value = object_attribute(*object.object(), name)) return value;
  }
  if (!has_method(object, name)) return std::nullopt;
  runtime.budget.work(sizeof(BoundMethod) + name.size());
  if (object.depth() >= kMaxValueDepth)
    throw TemplateError("a value is nested deeper than 100 levels");
  return Value(std::make_shared<const BoundMethod>(BoundMethod{object, name}));
}

// Index from the start for a position that may count from the end; nothing when it is outside.
std::optional<size_t> resolve_index(int64_t index, size_t count) {
  const auto size = static_cast<int64_t>(count);
  if (index < 0) index += size;
  if (index < 0 || index >= size) return std::nullopt;
  return static_cast<size_t>(index);
}

std::optional<int64_t> index_of(const Value& key) {
  if (key.integer()) return *key.integer();
  if (key.boolean()) return *key.boolean() ? 1 : 0;
  return std::nullopt;
}

std::optional<Value> character(const Text& text, int64_t index, Budget& budget) {
  budget.work(text.size());
  const auto position = resolve_index(index, count_code_points(text.bytes()));
  if (!position) return std::nullopt;
  const size_t begin = byte_offset(text.bytes(), *position);
  size_t end = begin;
  next_code_point(text.bytes(), end);
  return make_string(text.slice(begin, end), budget);
}

std::optional<Value> item(const Value& object, const Value& key, Budget& budget) {
  if (const Dict* dict = object.dict()) {
    const bool hashable = !key.dict() &&
                          !(key.sequence() && key.sequence()->kind != Sequence::Kind::tuple) &&
                          !key.is_undefined() && !key.object() && !key.method();
    const Value* value = hashable ? dict->find(key, budget) : nullptr;
    return value ? std::optional(*value) : std::nullopt;
  }
  const auto index = index_of(key);
  if (!index) return std::nullopt;
  if (const Text* text = object.text()) return character(*text, *index, budget);
  const Sequence* sequence = object.sequence();
  if (!sequence || !sequence->indexable()) return std::nullopt;
  const auto position = resolve_index(*index, sequence->items.size());
  return position ? std::optional(sequence->items[*position]) : std::nullopt;
}

struct SliceRange {
  int64_t start;
  int64_t step;
  int64_t count;
};

std::optional<int64_t> slice_part(const Value& value) {
  if (value.is_none()) return std::nullopt;
  require_defined(value);
  const auto index = index_of(value);
  if (!index) throw TemplateError("slice indices must be integers or None");
  return index;
}

// Positions that a slice of `size` items takes (Python's slice.indices).
SliceRange slice_range(int64_t size, const Value& start_value, const Value& stop_value,
                       const Value& step_value) {
  const int64_t step = slice_part(step_value).value_or(1);
  if (step == 0) throw TemplateError("slice step cannot be zero");
  const int64_t low = step > 0 ? 0 : -1;
  const int64_t high = step > 0 ? size : size - 1;
  const auto place = [&](std::optional<int64_t> part, int64_t fallback) {
    if (!part) return fallback;
    const int64_t position = *part < 0 ? std::max(*part, -size - 1) + size : *part;
    return std::clamp(position, low, high);
  };
  const int64_t start = place(slice_part(start_value), step > 0 ? low : high);
  const int64_t stop = place(slice_part(stop_value), step > 0 ? high : low);
  const int64_t distance = step > 0 ? stop - start : start - stop;
  if (distance <= 0) return {start, 1, 0};
  const auto stride =
      step > 0 ? static_cast<uint64_t>(step) : uint64_t{0} - static_cast<uint64_t>(step);
  return {start, step, static_cast<int64_t>((static_cast<uint64_t>(distance) - 1) / stride) + 1};
}

Value slice_text(const Text& text, const SliceRange& range, Budget& budget) {
  TextBuilder builder;
  if (range.step == 1) {
    const size_t begin = byte_offset(text.bytes(), static_cast<size_t>(range.start));
    const std::string_view rest = std::string_view(text.bytes()).substr(begin);
    builder.append(text, begin, begin + byte_offset(rest, static_cast<size_t>(range.count)));
    return make_string(builder.take(), budget);
  }
  std::vector<size_t> offsets;
  budget.work(text.size() * sizeof(size_t));
  for (size_t position = 0; position < text.size(); next_code_point(text.bytes(), position)) {
    offsets.push_back(position);
  }
  offsets.push_back(text.size());
  for (int64_t i = 0; i < range.count; ++i) {
    const auto at = static_cast<size_t>(range.start + i * range.step);
    builder.append(text, offsets[at], offsets[at + 1]);
  }
  return make_string(builder.take(), budget);
}

}  // namespace

Value get_attribute(Runtime& runtime, const Value& object, const std::string& name) {
  require_defined(object);
  if (auto value = attribute(runtime, object, name)) return *value;
  refuse_internal(object, name);
  if (const Dict* dict = object.dict()) {
    if (const Value* value = dict->find(name)) return *value;
  }
  return missing(object, name);
}

Value get_item(Runtime& runtime, const Value& object, const Value& key) {
  require_defined(object);
  if (auto value = item(object, key, runtime.budget)) return *value;
  if (const Text* name = key.text()) {
    runtime.budget.work(name->size());
    if (auto value = attribute(runtime, object, name->bytes())) return *value;
    refuse_internal(object, name->bytes());
    return missing(object, name->bytes().substr(0, 100));
  }
  if (const int64_t* index = key.integer()) {
    return Value::undefined(fmt::format("{} object has no element {}", object.type_name(), *index));
  }
  return Value::undefined(fmt::format("{} object has no such element", object.type_name()));
}

Value get_slice(const Value& object, const Value& start, const Value& stop, const Value& step,
                Budget& budget) {
  require_defined(object);
  if (const Text* text = object.text()) {
    budget.work(text->size());
    const auto size = static_cast<int64_t>(count_code_points(text->bytes()));
    return slice_text(*text, slice_range(size, start, stop, step), budget);
  }
  const Sequence* sequence = object.sequence();
  if (!sequence || !sequence->indexable()) {
    return Value::undefined(fmt::format("{} object cannot be sliced", object.type_name()));
  }
  const SliceRange range =
      slice_range(static_cast<int64_t>(sequence->items.size()), start, stop, step);
  budget.work(static_cast<size_t>(range.count) * sizeof(Value));
  std::vector<Value> items;
  for (int64_t i = 0; i < range.count; ++i) {
    items.push_back(sequence->items[static_cast<size_t>(range.start + i * range.step)]);
  }
  const bool tuple = sequence->kind == Sequence::Kind::tuple;
  return make_sequence(tuple ? Sequence::Kind::tuple : Sequence::Kind::list, std::move(items),
                       budget);
}

Value get_path(Runtime& runtime, Value object, const Value& path) {
  const Text* text = path.text();
  if (!text) return get_item(runtime, object, path);
  std::string_view rest = text->bytes();
  for (bool last = false; !last;) {
    runtime.budget.step();
    const size_t dot = rest.find('.');
    const std::string_view part = rest.substr(0, dot);
    last = dot == rest.npos;
    rest = last ? std::string_view() : rest.substr(dot + 1);
    int64_t index = 0;
    const auto parsed = std::from_chars(part.data(), part.data() + part.size(), index);
    const bool number =
        parsed.ec == std::errc() && parsed.ptr == part.data() + part.size() && part[0] != '-';
    object =
        get_item(runtime, object, number ? Value(index) : Value(Text(std::string(part), true)));
  }
  return object;
}

}  // namespace dunlin::jinja
