// The module's text, and values from nothing.
#include "backend/pjrt/stablehlo/builder.h"

#include <fmt/format.h>

#include <bit>
#include <cmath>
#include <utility>

#include "base/check.h"

namespace dunlin::pjrt {
namespace {

// Finite numbers as decimals that read back to the same bits; others by their bits.
std::string number(double value, Element element) {
  if (element == Element::i1) return value != 0.0 ? "true" : "false";
  if (!is_float(element)) return fmt::format("{}", static_cast<int64_t>(value));
  const auto narrow = static_cast<float>(value);
  if (std::isfinite(narrow)) return fmt::format("{:.9e}", narrow);
  DUNLIN_CHECK(element == Element::f32, "a constant that is no number");
  return fmt::format("0x{:08X}", std::bit_cast<uint32_t>(narrow));
}

// Nested lists of the values from `at` on.
std::string nested(const TensorType& type, const std::vector<double>& values, size_t axis,
                   size_t& at) {
  if (axis == type.dims.size()) return number(values[at++], type.element);
  std::string text = "[";
  for (int64_t i = 0; i < type.dims[axis]; ++i) {
    text += (i == 0 ? "" : ", ") + nested(type, values, axis + 1, at);
  }
  return text + "]";
}

void append(std::string& list, const std::string& item) {
  list += (list.empty() ? "" : ", ") + item;
}

// Shardy's form: <@mesh, [{"data"}, {}]>.
std::string sharding_text(const Splits& splits, size_t rank) {
  std::string dims;
  for (size_t i = 0; i < rank; ++i) {
    std::string axes;
    for (size_t j = 0; i < splits.size() && j < splits[i].size(); ++j)
      axes += fmt::format("{}\"{}\"", j == 0 ? "" : ", ", splits[i][j]);
    dims += fmt::format("{}{{{}}}", i == 0 ? "" : ", ", axes);
  }
  return fmt::format("<@mesh, [{}]>", dims);
}

// The attributes "{..}" of an argument or result, or none, and its sharding before them.
std::string annotated(const std::string& sharding, const std::string& attributes) {
  const std::string rest = attributes.empty() ? "}" : ", " + attributes.substr(1);
  return fmt::format("{{sdy.sharding = #sdy.sharding{}{}", sharding, rest);
}

// Those of result i.
std::string listed(const std::vector<std::string>& attributes, size_t i) {
  return i < attributes.size() ? attributes[i] : std::string();
}

}  // namespace

int64_t DeviceGrid::size(const std::string& name) const {
  for (const Axis& axis : axes) {
    if (axis.name == name) return axis.size;
  }
  DUNLIN_CHECK(false, "no axis " + name);
}

std::string join_names(const Vars& values) {
  std::string text;
  for (const Var& value : values) text += (text.empty() ? "" : ", ") + value.name;
  return text;
}

std::string join_types(const Vars& values) {
  std::string text;
  for (const Var& value : values) text += (text.empty() ? "" : ", ") + value.type.text();
  return text;
}

std::string Builder::fresh() {
  return fmt::format("%{}", next_++);
}

void Builder::line(const std::string& text) {
  body_.append(static_cast<size_t>(2 * depth_), ' ');
  body_ += text + "\n";
}

Var Builder::emit(const std::string& text, const TensorType& type) {
  return emit_many(text, {type}).front();
}

Vars Builder::emit_many(const std::string& text, const std::vector<TensorType>& types) {
  const std::string name = fresh();
  const bool one = types.size() == 1;
  const std::string place = location_.empty() ? "" : fmt::format(" loc(\"{}\")", location_);
  line(fmt::format("{}{} = {}{}", name, one ? "" : fmt::format(":{}", types.size()), text, place));
  Vars results;
  for (size_t i = 0; i < types.size(); ++i) {
    results.push_back({one ? name : fmt::format("{}#{}", name, i), types[i]});
  }
  return results;
}

Var Builder::argument(const TensorType& type, const std::string& attributes, const Splits& splits) {
  const std::string name = fmt::format("%arg{}", arguments_.size());
  Argument argument{.text = fmt::format("{}: {}{}{}", name, type.text(),
                                        attributes.empty() ? "" : " ", attributes),
                    .whole = type,
                    .part = {name, type},
                    .splits = splits};
  if (!grid_.axes.empty()) {
    argument.whole = whole(type, splits);
    argument.part.name = fmt::format("%part{}", arguments_.size());
    argument.text = fmt::format("{}: {} {}", name, argument.whole.text(),
                                annotated(sharding_text(splits, type.dims.size()), attributes));
  }
  arguments_.push_back(std::move(argument));
  return arguments_.back().part;
}

TensorType Builder::whole(const TensorType& type, const Splits& splits) const {
  TensorType result = type;
  for (size_t i = 0; i < splits.size(); ++i) {
    for (const std::string& axis : splits[i]) result.dims[i] *= grid_.size(axis);
  }
  return result;
}

std::string Builder::finish(const Vars& results, const std::vector<Splits>& splits,
                            const std::vector<std::string>& attributes) const {
  if (!grid_.axes.empty()) return finish_on_grid(results, splits, attributes);
  std::string arguments;
  for (const Argument& argument : arguments_)
    arguments += (arguments.empty() ? "" : ", ") + argument.text;
  std::string returned;
  for (size_t i = 0; i < results.size(); ++i) {
    const std::string type = results[i].type.text();
    const std::string more = listed(attributes, i);
    append(returned, more.empty() ? type : fmt::format("{} {}", type, more));
  }
  return fmt::format(
      "module @dunlin {{\n  func.func public @main({}) -> ({}) {{\n{}    return {} : {}\n  "
      "}}\n}}\n",
      arguments, returned, body_, join_names(results), join_types(results));
}

// The body is a region over a device's parts; what it returns are parts again, and nothing moves.
std::string Builder::finish_on_grid(const Vars& results, const std::vector<Splits>& splits,
                                    const std::vector<std::string>& attributes) const {
  DUNLIN_CHECK(splits.size() == results.size(), "how each result is split");
  std::string mesh;
  std::string axes;
  for (const DeviceGrid::Axis& axis : grid_.axes) {
    append(mesh, fmt::format("\"{}\"={}", axis.name, axis.size));
    append(axes, fmt::format("\"{}\"", axis.name));
  }
  std::string text = fmt::format("module @dunlin {{\n  sdy.mesh @mesh = <[{}]>\n", mesh);
  std::string declared;
  std::string names;
  std::string types;
  std::string shardings;
  std::string parts;
  for (const Argument& it : arguments_) {
    append(declared, it.text);
    append(names, it.text.substr(0, it.text.find(':')));
    append(types, it.whole.text());
    append(shardings, sharding_text(it.splits, it.whole.dims.size()));
    append(parts, fmt::format("{}: {}", it.part.name, it.part.type.text()));
  }
  std::string returned;
  std::string result_types;
  std::string result_shardings;
  std::string result_names;
  for (size_t i = 0; i < results.size(); ++i) {
    const TensorType type = whole(results[i].type, splits[i]);
    const std::string sharding = sharding_text(splits[i], type.dims.size());
    append(returned, fmt::format("{} {}", type.text(), annotated(sharding, listed(attributes, i))));
    append(result_types, type.text());
    append(result_shardings, sharding);
    append(result_names, results.size() == 1 ? "%whole" : fmt::format("%whole#{}", i));
  }
  const std::string count = results.size() == 1 ? "" : fmt::format(":{}", results.size());
  text += fmt::format("  func.func public @main({}) -> ({}) {{\n", declared, returned);
  text += fmt::format(
      "    %whole{} = sdy.manual_computation({}) in_shardings=[{}] out_shardings=[{}] "
      "manual_axes={{{}}} ({}) {{\n",
      count, names, shardings, result_shardings, axes, parts);
  text += body_;
  text += fmt::format("    sdy.return {} : {}\n", join_names(results), join_types(results));
  text += fmt::format("    }} : ({}) -> ({})\n", types, result_types);
  text += fmt::format("    return {} : {}\n  }}\n}}\n", result_names, result_types);
  return text;
}

Var Builder::constant(const TensorType& type, double value) {
  return emit(
      fmt::format("stablehlo.constant dense<{}> : {}", number(value, type.element), type.text()),
      type);
}

Var Builder::constant(const TensorType& type, const std::vector<double>& values) {
  if (values.size() == 1) return constant(type, values.front());
  DUNLIN_CHECK(std::cmp_equal(values.size(), element_count(type.dims)), "values of a constant");
  size_t at = 0;
  return emit(
      fmt::format("stablehlo.constant dense<{}> : {}", nested(type, values, 0, at), type.text()),
      type);
}

Var Builder::iota(const TensorType& type, int64_t axis) {
  return emit(fmt::format("stablehlo.iota dim = {} : {}", axis, type.text()), type);
}

}  // namespace dunlin::pjrt
