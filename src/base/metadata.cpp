#include "base/metadata.h"

#include <fmt/format.h>

#include <cmath>

namespace dunlin {
namespace {

Error missing(const std::string& origin, const std::string& key) {
  return model_error(fmt::format("{}: the key {} is missing", origin, key));
}

Error wrong_type(const std::string& origin, const std::string& key, const char* wanted) {
  return model_error(fmt::format("{}: {} is not {}", origin, key, wanted));
}

}  // namespace

const Metadata::Value* Metadata::find(const std::string& key) const {
  const auto it = values_.find(key);
  return it == values_.end() ? nullptr : &it->second;
}

Result<int64_t> Metadata::integer(const std::string& key, int64_t low, int64_t high) const {
  const Value* value = find(key);
  if (value == nullptr) return missing(origin_, key);
  int64_t number = 0;
  if (const auto* exact = std::get_if<int64_t>(value)) {
    number = *exact;
  } else if (const auto* real = std::get_if<double>(value);
             real && *real == std::floor(*real) && std::abs(*real) < 9e15) {
    number = static_cast<int64_t>(*real);
  } else {
    return wrong_type(origin_, key, "an integer");
  }
  if (number < low || number > high) {
    return model_error(
        fmt::format("{}: {} is {}, outside {}..{}", origin_, key, number, low, high));
  }
  return number;
}

Result<double> Metadata::number(const std::string& key, double low, double high) const {
  const Value* value = find(key);
  if (value == nullptr) return missing(origin_, key);
  double number = 0;
  if (const auto* real = std::get_if<double>(value)) {
    number = *real;
  } else if (const auto* exact = std::get_if<int64_t>(value)) {
    number = static_cast<double>(*exact);
  } else {
    return wrong_type(origin_, key, "a number");
  }
  if (!(number >= low && number <= high)) {  // NaN fails too
    return model_error(
        fmt::format("{}: {} is {}, outside {}..{}", origin_, key, number, low, high));
  }
  return number;
}

Result<bool> Metadata::boolean(const std::string& key) const {
  const Value* value = find(key);
  if (value == nullptr) return missing(origin_, key);
  if (const auto* flag = std::get_if<bool>(value)) return *flag;
  return wrong_type(origin_, key, "true or false");
}

Result<std::string> Metadata::text(const std::string& key) const {
  const Value* value = find(key);
  if (value == nullptr) return missing(origin_, key);
  if (const auto* string = std::get_if<std::string>(value)) return *string;
  return wrong_type(origin_, key, "a string");
}

Result<int64_t> Metadata::integer_or(const std::string& key, int64_t low, int64_t high,
                                     int64_t fallback) const {
  return has(key) ? integer(key, low, high) : Result<int64_t>(fallback);
}

Result<double> Metadata::number_or(const std::string& key, double low, double high,
                                   double fallback) const {
  return has(key) ? number(key, low, high) : Result<double>(fallback);
}

Result<bool> Metadata::boolean_or(const std::string& key, bool fallback) const {
  return has(key) ? boolean(key) : Result<bool>(fallback);
}

Result<std::string> Metadata::text_or(const std::string& key, std::string fallback) const {
  return has(key) ? text(key) : Result<std::string>(std::move(fallback));
}

}  // namespace dunlin
