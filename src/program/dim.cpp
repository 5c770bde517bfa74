// Text of sizes and shapes.
#include "program/dim.h"

namespace dunlin {

std::string to_string(const Dim& dim) {
  switch (dim.symbol) {
    case Symbol::rows:
      return "T";
    case Symbol::logit_rows:
      return "R";
    case Symbol::sequences:
      return "S";
    case Symbol::slots:
      return "C";
    case Symbol::none:
      break;
  }
  return std::to_string(dim.size);
}

std::string to_string(const Dims& dims) {
  std::string text = "[";
  for (const Dim& dim : dims) {
    if (text.size() > 1) text += ',';
    text += to_string(dim);
  }
  return text + ']';
}

}  // namespace dunlin
