// Attributes, items and slices, in the order in which Jinja2's sandbox resolves them.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "tokenizer/jinja/builtins.h"
#include "tokenizer/jinja/operators.h"
#include "tokenizer/jinja/program.h"
#include "tokenizer/jinja/text_functions.h"

namespace dunlin::jinja {
namespace {

// Methods that exist in Python, change their object or are of no use here, and so are refused by
// name.
constexpr std::string_view kRefusedDictMethods[] = {"clear",      "pop",    "popitem",
                                                    "setdefault", "update", "fromkeys"};
constexpr std::string_view kRefusedListMethods[] = {"append", "clear", "copy",   "extend",
                                                    "insert", "pop",   "remove", "reverse",
                                                    "sort",   "count", "index"};

Value missing(const Value& object, std::string_view name) {
  const std::string type = object.dict() ? "dict" : object.type_name();
  return Value::undefined(fmt::format("'{} object' has no attribute '{:.100}'", type, name));
}

void refuse_internal(const Value& object, std::string_view name) {
  const auto refused = [name](const auto& names) {
    return std::find(std::begin(names), std::end(names), name) != std::end(names);
  };
  const Sequence* sequence = object.sequence();
  const bool list = sequence && sequence->kind == Sequence::Kind::list;
  if (name.starts_with("__") || (object.dict() && refused(kRefusedDictMethods)) ||
      (list && refused(kRefusedListMethods))) {
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

std::optional<Value> object_attribute(Runtime& runtime, const Object& object,
                                      std::string_view name) {
  switch (object.kind) {
    case Object::Kind::loop:
      return loop_attribute(static_cast<const LoopObject&>(object), name);
    case Object::Kind::name_space: {
      const auto& attributes = static_cast<const NamespaceObject&>(object).attributes;
      const Value* value = attributes.find(name, runtime);
      return value ? std::optional(*value) : std::nullopt;
    }
    case Object::Kind::macro:
      if (name != "name") return std::nullopt;
      return Value(Text(static_cast<const MacroObject&>(object).definition->name, true));
    case Object::Kind::cycler: {
      const auto& cycler = static_cast<const CyclerObject&>(object);
      return name == "current" ? std::optional(cycler.items[cycler.index]) : std::nullopt;
    }
    default:
      return std::nullopt;
  }
}

// What Python's getattr() finds.
std::optional<Value> attribute(Runtime& runtime, const Value& object, std::string_view name) {
  if (object.object()) {
    if (auto value = object_attribute(runtime, *object.object(), name)) return value;
  }
  if (!find_method(object, name)) return std::nullopt;
  return runtime.method(object, name);
}

// Index from the start for a position that may count from the end; nothing when it is outside.
std::optional<size_t> resolve_index(int64_t index, size_t count) {
  const auto size = static_cast<int64_t>(count);
  if (index < 0) index += size;
  if (index < 0 || index >= size) return std::nullopt;
  return static_cast<size_t>(index);
}

std::optional<Value> item(Runtime& runtime, const Value& object, const Value& key) {
  if (const Dict* dict = object.dict()) {
    const bool hashable = key.text() || key.as_number() || key.is_none() ||
                          (key.sequence() && key.sequence()->kind == Sequence::Kind::tuple);
    const Value* value = hashable ? dict->find(key, runtime) : nullptr;
    return value ? std::optional(*value) : std::nullopt;
  }
  const auto index = key.as_integer();
  if (!index) return std::nullopt;
  if (const Text* text = object.text()) {
    const auto position = resolve_index(*index, static_cast<size_t>(length(object, runtime)));
    if (!position) return std::nullopt;
    const size_t begin = byte_offset(text->bytes(), *position);
    size_t end = begin;
    next_code_point(text->bytes(), end);
    return runtime.string(text->slice(begin, end));
  }
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

// Positions that a slice of `size` items takes (Python's slice.indices).
SliceRange slice_range(int64_t size, const Value& start_value, const Value& stop_value,
                       const Value& step_value) {
  const int64_t step = step_value.as_integer().value_or(1);
  if (step == 0) throw TemplateError("slice step cannot be zero");
  const int64_t low = step > 0 ? 0 : -1;
  const int64_t high = step > 0 ? size : size - 1;
  const auto place = [&](std::optional<int64_t> part, int64_t fallback) {
    if (!part) return fallback;
    const int64_t position = *part < 0 ? std::max(*part, -size - 1) + size : *part;
    return std::clamp(position, low, high);
  };
  const int64_t start = place(start_value.as_integer(), step > 0 ? low : high);
  const int64_t stop = place(stop_value.as_integer(), step > 0 ? high : low);
  const int64_t distance = step > 0 ? stop - start : start - stop;
  if (distance <= 0) return {start, 1, 0};
  const auto stride =
      step > 0 ? static_cast<uint64_t>(step) : uint64_t{0} - static_cast<uint64_t>(step);
  return {start, step, static_cast<int64_t>((static_cast<uint64_t>(distance) - 1) / stride) + 1};
}

Value slice_text(Runtime& runtime, const Text& text, const SliceRange& range) {
  std::vector<size_t> offsets;
  runtime.work(text.size() * sizeof(size_t));
  for (size_t position = 0; position < text.size(); next_code_point(text.bytes(), position))
    offsets.push_back(position);
  offsets.push_back(text.size());
  TextBuilder builder;
  for (int64_t i = 0; i < range.count; ++i) {
    const auto at = static_cast<size_t>(range.start + i * range.step);
    builder.append(text, offsets[at], offsets[at + 1]);
  }
  return runtime.string(builder.take());
}

}  // namespace

Value get_attribute(Runtime& runtime, const Value& object, const std::string& name) {
  object.require_defined();
  if (auto value = attribute(runtime, object, name)) return *value;
  refuse_internal(object, name);
  if (const Dict* dict = object.dict()) {
    if (const Value* value = dict->find(name, runtime)) return *value;
  }
  return missing(object, name);
}

Value get_item(Runtime& runtime, const Value& object, const Value& key) {
  object.require_defined();
  if (auto value = item(runtime, object, key)) return *value;
  if (const Text* name = key.text()) {
    runtime.work(name->size());
    if (auto value = attribute(runtime, object, name->bytes())) return *value;
    refuse_internal(object, name->bytes());
    return missing(object, name->bytes());
  }
  const std::string which =
      key.integer() ? fmt::format("element {}", *key.integer()) : "such element";
  return Value::undefined(fmt::format("{} object has no {}", object.type_name(), which));
}

Value get_slice(Runtime& runtime, const Value& object, const Value& start, const Value& stop,
                const Value& step) {
  object.require_defined();
  const Text* text = object.text();
  const Sequence* sequence = object.sequence();
  const auto is_index = [](const Value& part) { return part.is_none() || part.as_integer(); };
  if ((!text && (!sequence || !sequence->indexable())) || !is_index(start) || !is_index(stop) ||
      !is_index(step)) {
    return Value::undefined(fmt::format("{} object cannot be sliced so", object.type_name()));
  }
  const SliceRange range = slice_range(length(object, runtime), start, stop, step);
  if (text) return slice_text(runtime, *text, range);
  runtime.work(static_cast<size_t>(range.count) * sizeof(Value));
  std::vector<Value> items;
  for (int64_t i = 0; i < range.count; ++i)
    items.push_back(sequence->items[static_cast<size_t>(range.start + i * range.step)]);
  const bool tuple = sequence->kind == Sequence::Kind::tuple;
  return runtime.sequence(tuple ? Sequence::Kind::tuple : Sequence::Kind::list, std::move(items));
}

Value get_path(Runtime& runtime, Value object, const Value& path) {
  const Text* text = path.text();
  if (!text) return get_item(runtime, object, path);
  std::string_view rest = text->bytes();
  for (bool last = false; !last;) {
    runtime.step();
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
