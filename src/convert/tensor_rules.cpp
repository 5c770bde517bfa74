#include "convert/tensor_rules.h"

#include <fmt/format.h>

#include <algorithm>

namespace dunlin {

Result<TensorRules> TensorRules::compile(const std::vector<TensorRule>& rules) {
  TensorRules compiled;
  for (const TensorRule& rule : rules) {
    try {
      compiled.rules_.push_back(
          {rule.pattern, std::regex(rule.pattern, std::regex::icase), rule.format});
    } catch (const std::regex_error&) {
      return usage_error(
          fmt::format("--tensor-type: \"{}\" is not a regular expression", rule.pattern));
    }
  }
  return compiled;
}

std::optional<Format> TensorRules::find(const std::string& name) {
  for (Rule& rule : rules_) {
    if (!std::regex_search(name, rule.expression)) continue;
    rule.used = true;
    return rule.format;
  }
  return std::nullopt;
}

Result<void> TensorRules::check_all_used() const {
  const auto unused = std::ranges::find(rules_, false, &Rule::used);
  if (unused == rules_.end()) return {};
  return usage_error(fmt::format(
      "--tensor-type: \"{}\" fits no matrix that another rule has not taken", unused->pattern));
}

}  // namespace dunlin
