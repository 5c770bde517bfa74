// ImportanceMeasurement: how large the inputs of each matrix are over a text. An encoder that cannot
// keep every bit spends its error where inputs are small: the error of a product is the sum of the
// weights' errors times the inputs. What llama.cpp's llama-imatrix measures: of a mixture each expert's
// gate, up and down, over the rows that were routed to it.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "backend/watch.h"
#include "base/result.h"
#include "program/program.h"

namespace dunlin {

struct InputSquares {
  std::vector<double> sums;   // by expert and column: the squares of the inputs; else by column
  std::vector<int64_t> rows;  // that were summed, by expert; else one number
};

class ImportanceMeasurement {
 public:
  // Of the Program of the model at `path`, whose weights are not read. Errors: of open_checkpoint()
  // and record_model().
  static Result<ImportanceMeasurement> prepare(const std::string& path);

  // For ModelOptions::watch of the model that is measured; every step of it counts.
  std::shared_ptr<Watch> watch() const { return watch_; }

  // By the weight's name in the Program. Matrices that share an input have the same sums.
  std::map<std::string, InputSquares> squares() const;

 private:
  struct Measured;  // by value

  std::map<std::string, std::string> value_of_weight_ = {};
  std::shared_ptr<Measured> measured_ = {};
  std::shared_ptr<Watch> watch_ = {};
};

}  // namespace dunlin
