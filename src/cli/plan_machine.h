// What `dunlin plan` plans on: a slice of the catalogue or this machine, with the model's weights as
// they would lie there.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "cli/kv_type_flags.h"
#include "cli/plan_output.h"
#include "cli/plan_source.h"
#include "engine/text_model.h"
#include "planner/plan.h"

namespace dunlin {

struct MachineFlags {
  std::string device = "cpu";
  int64_t devices = 0;  // 0: as the name says
  bool split_cores = false;
  Requantization formats = {};
  KvTypeFlags kv_type = {};  // auto: 16 bits, or what the back end holds
  std::string precision = "auto";
  int threads = 0;
  std::string offload = "none";                    // or "auto"
  std::optional<double> disk_gb_s = std::nullopt;  // of what is offloaded; nothing: as calibrated
};

// Everything make_plan() takes. `model` refers to the source's Program, which outlives it.
struct PlanInputs {
  Machine machine = {};
  std::optional<PlannedModel> model = std::nullopt;
  PlanHeading heading = {};
  // Held so that this process is as large as one that runs the model.
  std::shared_ptr<const TextModel> text = nullptr;
};

// Fills machine, model, and the heading's formats. Errors (kind usage): an unknown device or format,
// and what this machine's back end does not have.
Result<void> prepare_machine(const MachineFlags& flags, const PlanSource& source,
                             const Workload& workload, PlanInputs& inputs);

}  // namespace dunlin
