#include "program/layer_names.h"

#include <algorithm>

namespace dunlin {
namespace {

bool is_decimal(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
}

}  // namespace

std::string without_numbers(std::string_view name) {
  std::string result;
  for (size_t at = 0; at <= name.size();) {
    const size_t dot = std::min(name.find('.', at), name.size());
    const std::string_view part = name.substr(at, dot - at);
    if (at > 0) result += '.';
    result += is_decimal(part) ? std::string_view("*") : part;
    at = dot + 1;
  }
  return result;
}

}  // namespace dunlin
