// Formats that a user gives to tensors by their names.
#pragma once

#include <optional>
#include <regex>
#include <string>
#include <vector>

#include "base/result.h"
#include "formats/format.h"

namespace dunlin {

// Matrices whose name the pattern is found in (ECMAScript, in any case of letters) get the format.
struct TensorRule {
  std::string pattern;
  Format format;
};

class TensorRules {
 public:
  // Errors (kind usage): a pattern that is no regular expression.
  static Result<TensorRules> compile(const std::vector<TensorRule>& rules);

  // Of the first that fits.
  std::optional<Format> find(const std::string& name);
  // An error (kind usage) names a rule that find() never came to.
  Result<void> check_all_used() const;

 private:
  struct Rule {
    std::string pattern;
    std::regex expression;
    Format format;
    bool used = false;
  };
  std::vector<Rule> rules_ = {};
};

}  // namespace dunlin
