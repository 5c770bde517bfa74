// Global functions: range, namespace, dict, cycler, joiner, and transformers' raise_exception and
// strftime_now.
#include <fmt/format.h>

#include <array>
#include <ctime>

#include "base/checked.h"
#include "tokenizer/jinja/builtins.h"
#include "tokenizer/jinja/format.h"

namespace dunlin::jinja {
namespace {

// How many items range(start, stop, step) has.
uint64_t range_size(int64_t start, int64_t stop, int64_t step) {
  const bool up = step > 0;
  if (up ? start >= stop : start <= stop) return 0;
  const uint64_t distance = up ? static_cast<uint64_t>(stop) - static_cast<uint64_t>(start)
                               : static_cast<uint64_t>(start) - static_cast<uint64_t>(stop);
  const uint64_t stride =
      up ? static_cast<uint64_t>(step) : uint64_t{0} - static_cast<uint64_t>(step);
  return (distance - 1) / stride + 1;
}

Value range_function(Runtime& runtime, const Arguments& arguments) {
  const BoundArguments bound("range", arguments, {"start", "stop", "step"}, 1);
  const bool only_stop = !bound.find(1);
  const int64_t first = bound.integer_or(0, 0);
  const int64_t start = only_stop ? 0 : first;
  const int64_t stop = only_stop ? first : bound.integer_or(1, 0);
  const int64_t step = bound.integer_or(2, 1);
  if (step == 0) throw TemplateError("range(): the step must not be zero");
  const uint64_t count = range_size(start, stop, step);
  if (count > static_cast<uint64_t>(kMaxRange))
    throw TemplateError("range(): more than 100000 items");
  runtime.budget.work(count * sizeof(Value));
  std::vector<Value> items;
  for (uint64_t i = 0; i < count; ++i) items.emplace_back(start + static_cast<int64_t>(i) * step);
  std::string label = step == 1 ? fmt::format("range({}, {})", start, stop)
                                : fmt::format("range({}, {}, {})", start, stop, step);
  return make_sequence(Sequence::Kind::range, std::move(items), runtime.budget, std::move(label));
}

// dict(mapping or pairs, **keywords) as the entries of a new dictionary.
Dict collect_entries(Runtime& runtime, std::string_view function, const Arguments& arguments) {
  if (arguments.positional.size() > 1)
    throw TemplateError(fmt::format("{}() takes at most 1 argument", function));
  Dict result;
  for (const Value& source : arguments.positional) {
    require_defined(source);
    if (const Dict* dict = source.dict()) {
      for (const auto& entry : dict->entries()) result.set(entry.key, entry.value, runtime.budget);
      continue;
    }
    for (const Value& pair : iterate(source, runtime.budget)) {
      const std::vector<Value> parts = iterate(pair, runtime.budget);
      if (parts.size() != 2) throw TemplateError(fmt::format("{}() needs pairs", function));
      result.set(parts[0], parts[1], runtime.budget);
    }
  }
  for (const auto& [name, value] : arguments.keyword) {
    result.set(make_string(Text(name, true), runtime.budget), value, runtime.budget);
  }
  return result;
}

Value dict_function(Runtime& runtime, const Arguments& arguments) {
  return make_dict(collect_entries(runtime, "dict", arguments));
}

Value namespace_function(Runtime& runtime, const Arguments& arguments) {
  const Dict entries = collect_entries(runtime, "namespace", arguments);
  auto* object = runtime.make_object<NamespaceObject>();
  for (const auto& entry : entries.entries()) {
    if (!entry.key.text()) throw TemplateError("namespace(): attribute names must be strings");
    const std::string& name = entry.key.text()->bytes();
    if (name.starts_with('_'))
      throw TemplateError("namespace(): attribute names must not begin with _");
    object->set(name, entry.value);
  }
  return Value(object);
}

Value cycler_function(Runtime& runtime, const Arguments& arguments) {
  if (arguments.positional.empty())
    throw TemplateError("cycler(): at least one item has to be provided");
  auto* object = runtime.make_object<CyclerObject>();
  object->items = arguments.positional;
  return Value(object);
}

Value joiner_function(Runtime& runtime, const Arguments& arguments) {
  const BoundArguments bound("joiner", arguments, {"sep"});
  auto* object = runtime.make_object<JoinerObject>();
  object->separator = bound.find(0) ? bound.value(0) : Value(Text(", ", true));
  return Value(object);
}

Value raise_exception_function(Runtime& runtime, const Arguments& arguments) {
  const BoundArguments bound("raise_exception", arguments, {"message"}, 1);
  throw TemplateError(to_text(bound.value(0), runtime.budget).bytes());
}

// Conversions of strftime that have a fixed small width: no flags, widths or locale modifiers.
std::string format_time(const std::string& format, const std::tm& time) {
  static constexpr std::string_view kConversions = "aAbBdDeFHIjmMpRSTuUwWxXyYcC";
  std::string result;
  for (size_t i = 0; i < format.size(); ++i) {
    if (format[i] != '%') {
      result.push_back(format[i]);
      continue;
    }
    const char conversion = ++i < format.size() ? format[i] : '\0';
    if (conversion == '%') {
      result.push_back('%');
      continue;
    }
    if (conversion == '\0' || kConversions.find(conversion) == kConversions.npos) {
      throw TemplateError("strftime_now(): a conversion of the format is not supported");
    }
    const char pattern[] = {'%', conversion, '\0'};
    std::array<char, 128> buffer{};
    result.append(buffer.data(), std::strftime(buffer.data(), buffer.size(), pattern, &time));
    if (result.size() > kMaxOutputBytes)
      throw TemplateError("strftime_now(): the result is too large");
  }
  return result;
}

Value strftime_now_function(Runtime& runtime, const Arguments& arguments) {
  const BoundArguments bound("strftime_now", arguments, {"format"}, 1);
  std::tm time{};
  if (runtime.now) {
    time = *runtime.now;
  } else {
    const std::time_t now = std::time(nullptr);
    localtime_r(&now, &time);
  }
  return make_string(Text(format_time(bound.text(0).bytes(), time), false), runtime.budget);
}

}  // namespace

GlobalFunction find_global(std::string_view name) {
  static constexpr std::pair<std::string_view, GlobalFunction> kFunctions[] = {
      {"range", range_function},
      {"namespace", namespace_function},
      {"dict", dict_function},
      {"cycler", cycler_function},
      {"joiner", joiner_function},
      {"raise_exception", raise_exception_function},
      {"strftime_now", strftime_now_function},
  };
  for (const auto& [function_name, function] : kFunctions) {
    if (function_name == name) return function;
  }
  return nullptr;
}

}  // namespace dunlin::jinja
