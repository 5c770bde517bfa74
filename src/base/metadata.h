// Metadata: the one set of configuration keys. config.json and a GGUF header are both translated to
// it, and models read nothing else. Keys are Hugging Face names (hidden_size, num_attention_heads,
// ...); nested objects use dots (rope_scaling.factor). The keys each model family reads are listed
// in its model file.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/result.h"

namespace dunlin {

class Metadata {
 public:
  using Value = std::variant<bool, int64_t, double, std::string, std::vector<int64_t>,
                             std::vector<double>, std::vector<std::string>>;

  // `origin` is the file the values came from; every error names it.
  explicit Metadata(std::string origin = "configuration") : origin_(std::move(origin)) {}

  void set(const std::string& key, Value value) { values_[key] = std::move(value); }
  bool has(const std::string& key) const { return values_.contains(key); }
  const Value* find(const std::string& key) const;
  const std::string& origin() const { return origin_; }
  const std::map<std::string, Value>& values() const { return values_; }

  // Typed reads. Missing, of another type, or outside [low, high]: an error that names file, key
  // and value. An integral double counts as an integer, an integer as a double.
  Result<int64_t> integer(const std::string& key, int64_t low, int64_t high) const;
  Result<double> number(const std::string& key, double low, double high) const;
  Result<bool> boolean(const std::string& key) const;
  Result<std::string> text(const std::string& key) const;

  // The same with a default for a missing key; a present key of a wrong type or range is still an
  // error.
  Result<int64_t> integer_or(const std::string& key, int64_t low, int64_t high,
                             int64_t fallback) const;
  Result<double> number_or(const std::string& key, double low, double high, double fallback) const;
  Result<bool> boolean_or(const std::string& key, bool fallback) const;
  Result<std::string> text_or(const std::string& key, std::string fallback) const;

 private:
  std::string origin_;
  std::map<std::string, Value> values_;
};

}  // namespace dunlin
