// Cases of recordings that must be refused, and a maker of their operands.
#pragma once

#include <functional>
#include <initializer_list>
#include <vector>

#include "program/ops.h"

namespace dunlin {

// Makes operands by shape.
class Maker {
 public:
  explicit Maker(Recorder& recorder) : recorder_(recorder) {}

  Tensor f32(Dims dims) { return constant(recorder_, std::move(dims), {0.5}, DType::f32); }
  Tensor i32(Dims dims) { return constant(recorder_, std::move(dims), {1}, DType::i32); }
  Tensor boolean(Dims dims) { return constant(recorder_, std::move(dims), {1}, DType::boolean); }
  Tensor weight(std::initializer_list<int64_t> sizes);  // w0.weight, w1.weight, ...
  Recorder& recorder() { return recorder_; }

 private:
  Recorder& recorder_;
  int count_ = 0;
};

struct RuleCase {
  const char* error;  // part of the message
  std::function<void(Maker&)> forward;
};

inline constexpr Symbol kT = Symbol::rows;
inline constexpr Symbol kR = Symbol::logit_rows;

// Every case's recording, with all taps asked for, fails with its error.
void expect_errors(const std::vector<RuleCase>& cases);

}  // namespace dunlin
