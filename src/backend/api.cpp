// The arithmetic table of docs/decisions/0002-numerics.md.
#include "backend/api.h"

namespace dunlin {

const char* precision_name(Precision precision) {
  switch (precision) {
    case Precision::automatic:
      return "auto";
    case Precision::exact:
      return "exact";
    case Precision::f32:
      break;
  }
  return "f32";
}

Arithmetic linear_arithmetic(Format weight, Precision precision, RowClass row_class) {
  if (precision == Precision::f32 || weight == Format::f32) return Arithmetic::f32;
  const bool integer = traits(weight).group > 0;
  const bool generated = row_class == RowClass::generated;
  if (precision == Precision::automatic && integer && generated) return Arithmetic::int8;
  return Arithmetic::bf16;
}

}  // namespace dunlin
