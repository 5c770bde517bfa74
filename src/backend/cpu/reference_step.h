// Steps without a kernel: the scalar function of the reference back end on one thread, over copies
// of the operands. They allocate; no model whose speed matters has any (kernels() names them).
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "backend/cpu/bind.h"
#include "backend/cpu/fuse.h"
#include "backend/reference/node_run.h"

namespace dunlin::cpu {

// What all reference steps of an executable share: their weights, and the step as the reference
// back end sees it.
class ReferenceRunner {
 public:
  // Reads the weights of the nodes without a kernel, decoded for their functions; an error where
  // one cannot run either. Null when every step has a kernel.
  static Result<std::unique_ptr<ReferenceRunner>> create(const Program& program,
                                                         const std::vector<FusedStep>& steps,
                                                         const WeightSource& source,
                                                         const CompileOptions& options);

  // The bytes that create() would hold, by WeightId of the Program; reads nothing.
  static Result<std::vector<uint64_t>> footprint(const Program& program,
                                                 const std::vector<FusedStep>& steps,
                                                 const WeightSource& source,
                                                 const CompileOptions& options);

  void begin_step(const StepPlan& plan);  // before the first node of each run()
  void run(const Binding& binding, const Node& node) noexcept;
  uint64_t bytes() const;

 private:
  const reference::PreparedWeight* weight(const Program& program, ValueId id) const;
  Result<Program> select_nodes(const Program& program, const std::vector<FusedStep>& steps);

  std::vector<WeightId> prepared_id_;  // by WeightId of the Program: index into prepared_, or -1
  std::vector<bool> kept_;             // by index into prepared_: kept_weights() of the Program
  std::vector<reference::PreparedWeight> prepared_;
  KvType kv_type_ = KvType::bf16;
  std::unique_ptr<reference::ReferenceKvState> no_state_;  // these nodes have none
  std::optional<reference::StepContext> step_;
};

std::unique_ptr<BoundStep> bind_reference(const Binding& binding, const Node& node,
                                          ReferenceRunner& runner);

}  // namespace dunlin::cpu
