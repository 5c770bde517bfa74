// A number as JSON has it.
#pragma once

#include <cmath>
#include <nlohmann/json.hpp>

namespace dunlin {

// JSON has neither infinities nor NaN: they are printed as null.
inline nlohmann::ordered_json json_number(double value) {
  return std::isfinite(value) ? nlohmann::ordered_json(value) : nlohmann::ordered_json(nullptr);
}

}  // namespace dunlin
