// Global functions: Jinja's, and transformers' raise_exception and strftime_now.
#include <fmt/format.h>

#include <ctime>

#include "tokenizer/jinja/builtins.h"
#include "tokenizer/jinja/print.h"

namespace dunlin::jinja {
namespace {

Value range_function(Call& c) {
  const bool only_stop = !c.find(1);
  const int64_t first = c.integer_or(0, 0);
  const int64_t start = only_stop ? 0 : first;
  const int64_t stop = only_stop ? first : c.integer_or(1, 0);
  const int64_t step = c.integer_or(2, 1);
  if (step == 0) throw TemplateError("range(): the step must not be zero");
  std::vector<Value> items;
  for (int64_t at = start; step > 0 ? at < stop : at > stop;) {
    if (static_cast<int64_t>(items.size()) == kMaxRange)
      throw TemplateError("range(): more than 100000 items");
    items.emplace_back(at);
    if (__builtin_add_overflow(at, step, &at)) break;
  }
  std::string label = step == 1 ? fmt::format("range({}, {})", start, stop)
                                : fmt::format("range({}, {}, {})", start, stop, step);
  return c.runtime.sequence(Sequence::Kind::range, std::move(items), std::move(label));
}

// The arguments of dict(mapping or pairs, **keywords) as one dictionary.
Dict collect_entries(Call& c) {
  if (c.arguments.positional.size() > 1) throw TemplateError("more than one mapping is given");
  Dict result;
  for (const Value& source : c.arguments.positional) {
    source.require_defined();
    for (const Value& item : iterate(source, c.runtime)) {
      if (const Dict* dict = source.dict()) {
        result.set(item, *dict->find(item, c.runtime), c.runtime);
        continue;
      }
      const std::vector<Value> parts = iterate(item, c.runtime);
      if (parts.size() != 2) throw TemplateError("a mapping needs pairs");
      result.set(parts[0], parts[1], c.runtime);
    }
  }
  for (const auto& [name, value] : c.arguments.keyword)
    result.set(c.runtime.string(Text(name, true)), value, c.runtime);
  return result;
}

Value namespace_function(Call& c) {
  const Dict entries = collect_entries(c);
  auto* object = c.runtime.object<NamespaceObject>();
  for (const auto& [key, value] : entries.entries()) {
    if (!key.text()) throw TemplateError("namespace(): attribute names must be strings");
    if (key.text()->bytes().starts_with('_'))
      throw TemplateError("namespace(): attribute names must not begin with _");
    object->attributes.set(key, value, c.runtime);
  }
  return Value(object);
}

Value cycler_function(Call& c) {
  if (c.arguments.positional.empty()) throw TemplateError("cycler(): at least one item is needed");
  c.runtime.work(c.arguments.positional.size() * sizeof(Value));
  auto* object = c.runtime.object<CyclerObject>();
  object->items = c.arguments.positional;
  return Value(object);
}

Value joiner_function(Call& c) {
  auto* object = c.runtime.object<JoinerObject>();
  object->separator = c.given(0) ? c.value(0) : Value(Text(", ", true));
  return Value(object);
}

// Conversions of strftime that have a fixed small width: no flags, widths or locale modifiers.
Value strftime_now_function(Call& c) {
  static constexpr std::string_view kConversions = "aAbBdDeFHIjmMpRSTuUwWxXyYcC%";
  std::tm time = c.runtime.now().value_or(std::tm{});
  const std::time_t now = std::time(nullptr);
  if (!c.runtime.now()) localtime_r(&now, &time);
  TextBuilder result;
  const std::string& format = c.text(0).bytes();
  for (size_t i = 0; i < format.size(); ++i) {
    if (format[i] != '%') {
      result.append({&format[i], 1}, false);
      continue;
    }
    c.runtime.step();
    if (++i == format.size() || kConversions.find(format[i]) == kConversions.npos)
      throw TemplateError("strftime_now(): a conversion of the format is not supported");
    const char pattern[] = {'%', format[i], '\0'};
    std::array<char, 128> buffer{};
    const size_t length = std::strftime(buffer.data(), buffer.size(), pattern, &time);
    result.append({buffer.data(), length}, false);
  }
  return c.runtime.string(result.take());
}

constexpr Builtin kGlobals[] = {
    {"range", {"start", "stop", "step"}, 1, range_function},
    {"namespace", {"*"}, 0, namespace_function},
    {"dict",
     {"*"},
     0,
     [](Call& c) { return Value(std::make_shared<const Dict>(collect_entries(c))); }},
    {"cycler", {"*"}, 0, cycler_function},
    {"joiner", {"sep"}, 0, joiner_function},
    {"raise_exception",
     {"message"},
     1,
     [](Call& c) -> Value { throw TemplateError(to_text(c.value(0), c.runtime).bytes()); }},
    {"strftime_now", {"format"}, 1, strftime_now_function},
};

}  // namespace

const Builtin* find_global(std::string_view name) {
  return find_builtin(kGlobals, name);
}

}  // namespace dunlin::jinja
