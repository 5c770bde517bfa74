// Tensor and WeightScope: the handles that a model's code holds while it is recorded.
#pragma once

#include <source_location>
#include <stdexcept>
#include <string>

#include "program/program.h"

namespace dunlin {

class Recorder;

// A value of the Program being recorded. Models cannot read or branch on its contents or on
// symbolic sizes.
class Tensor {
 public:
  Tensor() = default;
  Tensor(Recorder* recorder, ValueId id) : recorder_(recorder), id_(id) {}
  bool defined() const { return recorder_ != nullptr; }
  Recorder& recorder() const { return *recorder_; }
  ValueId id() const { return id_; }
  // Copies: recording more may move what the recorder holds.
  ValueType type() const;
  Dims dims() const { return type().dims; }

 private:
  Recorder* recorder_ = nullptr;
  ValueId id_ = -1;
};

// A wrong shape or type in a recording, thrown by the operations and turned into an Error by
// record(). The text starts with the line: "src/models/llama.cpp:41: ...".
class ProgramError : public std::runtime_error {
 public:
  ProgramError(const std::string& message, const std::source_location& where);
};

// Declares weights under a name prefix: scope("layers").scope(3).matrix("self_attn.q_proj.weight",
// rows, columns).
class WeightScope {
 public:
  WeightScope(Recorder* recorder, std::string prefix)
      : recorder_(recorder), prefix_(std::move(prefix)) {}
  WeightScope scope(const std::string& name) const;
  WeightScope scope(int64_t index) const;

  Tensor vector(const std::string& name, const AxisList& axes,
                std::source_location where = std::source_location::current()) const;
  Tensor matrix(const std::string& name, const AxisList& out, const AxisList& in,
                std::source_location where = std::source_location::current()) const;
  Tensor stack(const std::string& name, const AxisList& experts, const AxisList& out,
               const AxisList& in,
               std::source_location where = std::source_location::current()) const;

 private:
  std::string full_name(const std::string& name) const;
  Recorder* recorder_;
  std::string prefix_;
};

}  // namespace dunlin
