// Operations element by element.
#include <fmt/format.h>

#include "backend/pjrt/stablehlo/builder.h"
#include "base/check.h"

namespace dunlin::pjrt {

Var Builder::unary(const char* op, const Var& x) {
  return emit(fmt::format("stablehlo.{} {} : {}", op, x.name, x.type.text()), x.type);
}

Var Builder::binary(const char* op, const Var& a, const Var& b) {
  DUNLIN_CHECK(a.type == b.type, fmt::format("{} of {} and {}", op, a.type.text(), b.type.text()));
  return emit(fmt::format("stablehlo.{} {}, {} : {}", op, a.name, b.name, a.type.text()), a.type);
}

Var Builder::compare(const char* direction, const Var& a, const Var& b) {
  DUNLIN_CHECK(a.type == b.type,
               fmt::format("comparison of {} and {}", a.type.text(), b.type.text()));
  const char* kind = is_float(a.type.element)         ? "FLOAT"
                     : a.type.element == Element::i32 ? "SIGNED"
                                                      : "UNSIGNED";
  const TensorType type{Element::i1, a.type.dims};
  return emit(fmt::format("stablehlo.compare {}, {}, {}, {} : ({}, {}) -> {}", direction, a.name,
                          b.name, kind, a.type.text(), b.type.text(), type.text()),
              type);
}

Var Builder::select(const Var& condition, const Var& when_true, const Var& when_false) {
  DUNLIN_CHECK(when_true.type == when_false.type && condition.type.dims == when_true.type.dims,
               fmt::format("choice by {} of {} and {}", condition.type.text(),
                           when_true.type.text(), when_false.type.text()));
  return emit(fmt::format("stablehlo.select {}, {}, {} : {}, {}", condition.name, when_true.name,
                          when_false.name, condition.type.text(), when_true.type.text()),
              when_true.type);
}

Var Builder::convert(const Var& x, Element to) {
  if (x.type.element == to) return x;
  const TensorType type{to, x.type.dims};
  return emit(fmt::format("stablehlo.convert {} : ({}) -> {}", x.name, x.type.text(), type.text()),
              type);
}

Var Builder::bitcast(const Var& x, Element to) {
  const TensorType type{to, x.type.dims};
  DUNLIN_CHECK(element_bits(to) == element_bits(x.type.element), "bits of " + x.type.text());
  return emit(
      fmt::format("stablehlo.bitcast_convert {} : ({}) -> {}", x.name, x.type.text(), type.text()),
      type);
}

}  // namespace dunlin::pjrt
