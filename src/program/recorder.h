// Recorder: a model's forward pass runs once over Tensor handles that hold no data, and every
// operation appends a node.
#pragma once

#include <array>
#include <functional>
#include <optional>
#include <source_location>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "program/handles.h"
#include "program/program.h"

namespace dunlin {

struct RecordOptions {
  // Names or globs ("hidden.*") of taps to keep as outputs; other taps are removed. A pattern that
  // no tap matches is an error.
  std::vector<std::string> taps = {};
  int64_t layers = -1;        // >= 0: only so many layers (models apply it)
  int64_t logits_view_k = 0;  // > 0: also output the logits view with k candidates
  bool stateful = true;       // false: attention over the rows of the step only (no KV cache)
  // Experts give what their down projections multiply, f32 [T,k,F], as a result #1.
  bool keeps_hidden = false;
};

class Recorder {
 public:
  explicit Recorder(std::string model, RecordOptions options);

  const RecordOptions& options() const { return options_; }

  Tensor input(InputKind kind);  // one value per kind
  Tensor tokens();               // i32 [T]
  Tensor positions();            // i32 [T]
  Tensor row_sequences();        // i32 [T]
  Tensor logit_rows();           // i32 [R]
  Tensor temperatures();         // f32 [R]
  Tensor random();               // f32 [R]
  WeightScope weights() { return {this, ""}; }

  // A layer's place in the KV state: layers with the same window, heads and width share a group.
  // Without state (options) there are no groups and every place is {0, 0}.
  struct KvLayer {
    int32_t group;
    int32_t layer;
  };
  KvLayer kv_layer(int64_t window, int64_t kv_heads, int64_t head_dim);

  // Notes that the model has a tap of this name; true when the options ask for it.
  bool offer_tap(const std::string& name);

  // `label` under the scopes open now, "layers.3.attend.q_proj".
  std::string scoped(const std::string& label) const;

  // Where an operation recorded at `where` belongs: the innermost Scope with a place decides.
  std::source_location place(const std::source_location& where) const;

  // Appends a node and returns its results. `label` ends its name; `types` are its results' types.
  // Does not check the operation's rules: the functions of ops.h do, and verify().
  std::vector<Tensor> append(Op op, Attributes attributes, const std::vector<Tensor>& operands,
                             std::vector<ValueType> types, const std::string& label,
                             const std::source_location& where);
  // A weight of one to three dimensions. The same name again with the same shape is the same value.
  Tensor declare_weight(WeightDeclaration declaration);
  void output(const std::string& name, Tensor value,
              std::source_location where = std::source_location::current());

  const Program& program() const { return program_; }
  const Value& value(ValueId id) const { return program_.values[static_cast<size_t>(id)]; }

  // Taps that were not asked for and nodes without a use are removed; a weight that nothing reads
  // throws.
  Program finish() &&;

 private:
  friend class Scope;
  friend Result<Program> record(const std::string& model, const RecordOptions& options,
                                const std::function<void(Recorder&)>& forward);
  struct OpenScope {
    std::string name;
    std::optional<std::source_location> place;
  };
  Tensor add_value(Value value);
  std::string unique_name(const std::string& label);
  void check_weights_are_read() const;
  Result<void> check_taps() const;

  RecordOptions options_;
  Program program_;
  std::vector<OpenScope> scopes_;
  std::array<ValueId, kInputKinds> inputs_;  // -1: not used yet
  std::unordered_map<std::string, ValueId> weights_;
  std::unordered_map<std::string, int> names_;  // of nodes; the last suffix given to each
  std::vector<bool> pattern_matched_;           // for each of options_.taps
  std::vector<std::string> offered_taps_;
};

// Names the nodes recorded while it lives: Scope layer(recorder, "layers", 3). With a place, they
// are attributed to that source line.
class Scope {
 public:
  Scope(Recorder& recorder, const std::string& name);
  Scope(Recorder& recorder, const std::string& name, int64_t index);
  Scope(Recorder& recorder, const std::string& name, const std::source_location& place);
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
