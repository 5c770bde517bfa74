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
  if (element == Element::i32) return fmt::format("{}", static_cast<int64_t>(value));
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

}  // namespace

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

Var Builder::argument(const TensorType& type, const std::string& attributes) {
  const std::string name = fmt::format("%arg{}", arguments_.size());
  arguments_.push_back(
      fmt::format("{}: {}{}{}", name, type.text(), attributes.empty() ? "" : " ", attributes));
  return {name, type};
}

std::string Builder::finish(const Vars& results) const {
  return fmt::format(
      "module @dunlin {{\n  func.func public @main({}) -> ({}) {{\n{}    return {} : {}\n  "
      "}}\n}}\n",
      fmt::join(arguments_, ", "), join_types(results), body_, join_names(results),
      join_types(results));
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
