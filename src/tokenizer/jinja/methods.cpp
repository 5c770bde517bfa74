// Methods of values: strings, dicts, and the objects loop, cycler and joiner.
#include <fmt/format.h>

#include <algorithm>

#include "tokenizer/jinja/builtins.h"
#include "tokenizer/jinja/operators.h"

namespace dunlin::jinja {
namespace {

constexpr std::string_view kDictMethods[] = {"items", "keys", "values", "get"};

Value dict_view(Runtime& runtime, const Dict& dict, std::string_view name) {
  std::vector<Value> items;
  runtime.budget.work(dict.size() * sizeof(Value));
  for (const auto& entry : dict.entries()) {
    if (name == "keys") {
      items.push_back(entry.key);
    } else if (name == "values") {
      items.push_back(entry.value);
    } else {
      items.push_back(
          make_sequence(Sequence::Kind::tuple, {entry.key, entry.value}, runtime.budget));
    }
  }
  return make_sequence(Sequence::Kind::view, std::move(items), runtime.budget,
                       fmt::format("dict_{}", name));
}

Value call_dict_method(Runtime& runtime, const Dict& dict, std::string_view name,
                       const Arguments& arguments) {
  if (name != "get") {
    const BoundArguments bound(name, arguments, {});
    return dict_view(runtime, dict, name);
  }
  const BoundArguments bound("get", arguments, {"key", "default"}, 1);
  const Value* value = dict.find(bound.value(0), runtime.budget);
  if (value) return *value;
  return bound.find(1) ? *bound.find(1) : Value();
}

Value cycle(const LoopObject& loop, const Arguments& arguments) {
  if (arguments.positional.empty()) throw TemplateError("no items for cycling given");
  return arguments.positional[loop.index % arguments.positional.size()];
}

Value changed(Runtime& runtime, LoopObject& loop, const Arguments& arguments) {
  const auto same = [&](const Value& a, const Value& b) { return equals(a, b, runtime.budget); };
  const bool repeated = loop.last_changed &&
                        std::equal(loop.last_changed->begin(), loop.last_changed->end(),
                                   arguments.positional.begin(), arguments.positional.end(), same);
  if (!repeated) loop.last_changed = arguments.positional;
  return Value(!repeated);
}

Value call_cycler_method(CyclerObject& cycler, std::string_view name) {
  const size_t position = std::exchange(cycler.position, 0);
  if (name == "reset") return Value();
  cycler.position = (position + 1) % cycler.items.size();
  return cycler.items[position];
}

}  // namespace

bool has_method(const Value& self, std::string_view name) {
  if (self.text()) return has_string_method(name);
  if (self.dict())
    return std::find(std::begin(kDictMethods), std::end(kDictMethods), name) !=
           std::end(kDictMethods);
  if (!self.object()) return false;
  if (self.object()->kind == Object::Kind::loop) return name == "cycle" || name == "changed";
  return self.object()->kind == Object::Kind::cycler && (name == "next" || name == "reset");
}

Value call_method(Runtime& runtime, const Value& self, std::string_view name,
                  const Arguments& arguments) {
  runtime.budget.step();
  if (const Text* text = self.text()) return call_string_method(runtime, *text, name, arguments);
  if (const Dict* dict = self.dict()) return call_dict_method(runtime, *dict, name, arguments);
  if (self.object()->kind == Object::Kind::cycler) {
    return call_cycler_method(static_cast<CyclerObject&>(*self.object()), name);
  }
  auto& loop = static_cast<LoopObject&>(*self.object());
  return name == "cycle" ? cycle(loop, arguments) : changed(runtime, loop, arguments);
}

}  // namespace dunlin::jinja
