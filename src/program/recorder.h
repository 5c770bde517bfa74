// Recorder: a model's forward pass runs once over Tensor handles that hold no data, and every
// operation appends a node.
#pragma once

#include <functional>
#include <source_location>
#include <stdexcept>
#include <string>
#include <vector>

#include "base/result.h"
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
  const ValueType& type() const;
  const Dims& dims() const { return type().dims; }

 private:
  Recorder* recorder_ = nullptr;
  ValueId id_ = -1;
};

// A wrong shape or type in a recording, thrown by the operations and turned into an Error by
// record().
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

struct RecordOptions {
  // Names or globs ("hidden.*") of taps to keep as outputs; other taps are removed.
  std::vector<std::string> taps = {};
  int64_t layers = -1;        // >= 0: only so many layers (models apply it)
  int64_t logits_view_k = 0;  // > 0: also output the logits view with k candidates
  bool stateful = true;       // false: attention over the rows of the step only (no KV cache)
};

class Recorder {
 public:
  explicit Recorder(std::string model, RecordOptions options);

  const RecordOptions& options() const { return options_; }

  Tensor tokens();         // i32 [T]
  Tensor positions();      // i32 [T]
  Tensor row_sequences();  // i32 [T]
  Tensor logit_rows();     // i32 [R]
  Tensor temperatures();   // f32 [R]
  Tensor random();         // f32 [R]
  WeightScope weights() { return {this, ""}; }

  // A layer's place in the KV state: layers with the same window, heads and width share a group.
  struct KvLayer {
    int32_t group;
    int32_t layer;
  };
  KvLayer kv_layer(int64_t window, int64_t kv_heads, int64_t head_dim);

  // Appends a node and returns its results. `label` ends its name; `types` are its results' types.
  std::vector<Tensor> append(Op op, Attributes attributes, const std::vector<Tensor>& operands,
                             std::vector<ValueType> types, const std::string& label,
                             const std::source_location& where);
  Tensor declare_weight(WeightDeclaration declaration);
  void output(const std::string& name, Tensor value);

  const Program& program() const { return program_; }
  const Value& value(ValueId id) const { return program_.values[static_cast<size_t>(id)]; }
  Program finish() &&;  // taps that were not asked for and nodes without a use are removed

 private:
  friend class Scope;
  Tensor input(InputKind kind, ValueType type);
  std::string unique_name(const std::string& label);

  RecordOptions options_;
  Program program_;
  std::vector<std::string> scopes_;
};

// Names the nodes recorded while it lives: Scope layer(recorder, "layers", 3).
class Scope {
 public:
  Scope(Recorder& recorder, const std::string& name);
  Scope(Recorder& recorder, const std::string& name, int64_t index);
  ~Scope();
  Scope(const Scope&) = delete;
  Scope& operator=(const Scope&) = delete;

 private:
  Recorder& recorder_;
};

// Runs `forward` over a fresh recorder and returns the verified Program. A shape error becomes an
// Error whose message starts with the model's file and line.
Result<Program> record(const std::string& model, const RecordOptions& options,
                       const std::function<void(Recorder&)>& forward);

}  // namespace dunlin
