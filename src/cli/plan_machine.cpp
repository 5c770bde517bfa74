#include "cli/plan_machine.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "backend/cpu/cpu_backend.h"
#include "backend/weight_shape.h"
#include "checkpoint/pack_cache.h"
#include "cli/options.h"
#include "cli/this_cpu.h"
#include "planner/storage.h"

namespace dunlin {
namespace {

constexpr int64_t kMostSequences = 1024;  // of --parallel in the commands that run a model

// What a model that runs allocates and a plan does not: the scheduler's and the cache's books, the
// stacks of threads (docs/planning.md, "Memory of a process").
constexpr int64_t kRunningBytes = 256 << 10;

// A tokenizer that is not there to be loaded, for each token: measured on Llama 3.1's.
constexpr int64_t kTokenizerBytesPerToken = 400;

bool is_file(const std::string& device) {
  return device.ends_with(".json") || device.find('/') != std::string::npos;
}

Result<Slice> slice_of(const MachineFlags& flags) {
  Slice slice;
  if (is_file(flags.device)) {
    DUNLIN_ASSIGN_OR_RETURN(slice.device, read_device_file(flags.device));
  } else {
    DUNLIN_ASSIGN_OR_RETURN(slice, parse_slice(flags.device, flags.split_cores));
  }
  if (flags.devices > 0) slice.devices = flags.devices;
  return slice;
}

// An accelerator: bytes follow from the formats, memory from the Program.
Result<void> prepare_accelerator(const MachineFlags& flags, const PlanSource& source,
                                 PlanInputs& inputs) {
  DUNLIN_ASSIGN_OR_RETURN(inputs.machine.slice, slice_of(flags));
  DUNLIN_ASSIGN_OR_RETURN(WeightStorage storage, weight_storage(source.program, source.weights));
  DUNLIN_RETURN_IF_ERROR(requantize(source.program, flags.formats, storage));
  hold_on(source.program, inputs.machine.slice.device.platform, storage);
  const auto kv = [](const std::string& name) {
    return parse_kv_storage(name == "auto" ? "bf16" : name);
  };
  DUNLIN_ASSIGN_OR_RETURN(const Storage keys, kv(flags.kv_type.of_keys()));
  DUNLIN_ASSIGN_OR_RETURN(const Storage values, kv(flags.kv_type.of_values()));
  inputs.heading.weights = storage_summary(source.program, storage);
  inputs.heading.kv = keys.name == values.name ? keys.name : keys.name + "/" + values.name;
  inputs.model.emplace(source.program, std::move(storage), keys, values);
  return {};
}

// The CPU back end says itself what it holds.
struct CpuFootprint {
  std::shared_ptr<Backend> backend;
  const Program* program;
  WeightSource weights;
  CompileOptions options;
  int64_t process = 0;  // of the rest
  // Bytes that memory has, where it need not hold all weights.
  std::optional<uint64_t> offload = {};

  CompileOptions options_for(const Capacity& capacity) const {
    CompileOptions chosen = options;
    chosen.limits = capacity.limits();
    return chosen;
  }
  std::vector<int64_t> pages_for(const Capacity& capacity) const {
    std::vector<int64_t> pages;
    for (const KvGroup& group : program->kv_groups)
      pages.push_back(kv_pages(group, capacity.limits()) * capacity.sequences);
    return pages;
  }
  Result<Footprint> of(const Capacity& capacity) const {
    return backend->footprint(*program, weights, options_for(capacity), pages_for(capacity));
  }
  // Of `offload`.
  Result<Residency> residency(const Capacity& capacity) const {
    return backend->residency(*program, weights, options_for(capacity), pages_for(capacity),
                              *offload);
  }
  Result<DeviceMemory> memory(const Capacity& capacity) const {
    DUNLIN_ASSIGN_OR_RETURN(const Footprint footprint, of(capacity));
    DeviceMemory memory;
    memory.weights = static_cast<int64_t>(footprint.weights);
    if (offload) {
      DUNLIN_ASSIGN_OR_RETURN(const Residency held, residency(capacity));
      memory.weights = static_cast<int64_t>(held.held_bytes());
    }
    memory.kv = static_cast<int64_t>(footprint.kv);
    memory.activations = static_cast<int64_t>(footprint.activations);
    memory.workspace = static_cast<int64_t>(footprint.workspace);
    // The buffers of loading are given back before the first step. They stay in the sum, for the stacks and
    // heaps of threads, which nothing else counts.
    memory.process = process + static_cast<int64_t>(footprint.loading);
    if (footprint.weights >= PackCacheSettings::kLeastBytes)
      memory.process += PackCache::kWritingBytes;
    return memory;
  }
};

Result<CpuFootprint> make_footprint(const MachineFlags& flags, const PlanSource& source,
                                    int threads) {
  CpuFootprint footprint{
      .backend = make_cpu_backend(), .program = &source.program, .weights = {}, .options = {}};
  footprint.options.threads = threads;
  DUNLIN_ASSIGN_OR_RETURN(footprint.options.precision, parse_precision(flags.precision));
  DUNLIN_ASSIGN_OR_RETURN(footprint.weights, in_formats(source, flags.formats));
  DUNLIN_ASSIGN_OR_RETURN(const std::optional<KvType> asked, flags.kv_type.type());
  DUNLIN_ASSIGN_OR_RETURN(footprint.options.kv_type,
                          kv_type_of(footprint.options.precision, asked));
  return footprint;
}

// Of a weight as the back end holds it; `kept`: one of kept_weights().
Format held_format(Format stored, Precision precision, bool multiplied, bool kept) {
  if (precision == Precision::f32) return Format::f32;
  if (!multiplied) return stored;
  const Arithmetic arithmetic = linear_arithmetic(stored, precision, RowClass::prompt, kept);
  return arithmetic == Arithmetic::int8wide ? Format::i8 : stored;
}

// Bytes of each weight as the back end holds it, under the name of the format whose rates apply.
Result<WeightStorage> held_storage(const CpuFootprint& footprint, const Footprint& held) {
  WeightStorage storage;
  const std::vector<bool> multiplied = multiplied_weights(*footprint.program);
  const std::vector<bool> kept = kept_weights(*footprint.program);
  for (size_t i = 0; i < footprint.program->weights.size(); ++i) {
    const WeightDeclaration& weight = footprint.program->weights[i];
    DUNLIN_ASSIGN_OR_RETURN(const WeightView view, footprint.weights(weight.name));
    const MatrixShape shape = matrix_shape(weight);
    const Format format =
        held_format(view.format, footprint.options.precision, multiplied[i], kept[i]);
    const auto bytes = static_cast<int64_t>(held.by_weight[i]);
    storage.push_back(
        {traits(format).name, shape.columns, (bytes + shape.rows - 1) / shape.rows, 0});
  }
  return storage;
}

// Loads what a running model has beside the back end, and counts it.
Result<int64_t> process_bytes(const PlanSource& source, PlanInputs& inputs) {
  if (source.checkpoint != nullptr) {
    inputs.text = std::make_shared<const TextModel>(load_text_model(*source.checkpoint));
    return resident_bytes() + kRunningBytes;
  }
  DUNLIN_ASSIGN_OR_RETURN(const int64_t tokens, source.config.integer("vocab_size", 1, 1 << 24));
  return resident_bytes() + kRunningBytes + kTokenizerBytesPerToken * tokens;
}

Result<void> prepare_cpu(const MachineFlags& flags, const PlanSource& source,
                         const Workload& workload, PlanInputs& inputs) {
  if (flags.devices > 1 || flags.split_cores)
    return usage_error("--devices and --split-cores: this machine is one device");
  DUNLIN_ASSIGN_OR_RETURN(CpuRates rates, rates_of_this_cpu(flags.threads));
  DUNLIN_ASSIGN_OR_RETURN(CpuFootprint footprint, make_footprint(flags, source, rates.threads));
  DUNLIN_ASSIGN_OR_RETURN(
      const Footprint held,
      footprint.of({.sequences = 1, .context = workload.context, .rows = workload.chunk}));
  DUNLIN_ASSIGN_OR_RETURN(WeightStorage storage, held_storage(footprint, held));
  inputs.heading.kv = kv_type_name(*footprint.options.kv_type);
  inputs.heading.weights = storage_summary(source.program, storage);
  DUNLIN_ASSIGN_OR_RETURN(Storage cache, parse_kv_storage(inputs.heading.kv));
  if (cache.scale_bytes > 0) cache.scale_bytes = 4;  // of accelerators 16 bits
  inputs.model.emplace(source.program, std::move(storage), cache, cache);
  DUNLIN_ASSIGN_OR_RETURN(footprint.process, process_bytes(source, inputs));
  const double measured_disk = rates.disk_bytes_per_second;
  const Device device = cpu_device(std::move(rates));
  if (flags.offload == "auto") footprint.offload = static_cast<uint64_t>(device.memory_bytes);
  inputs.machine = {{device, 1},
                    [footprint](const Capacity& capacity) { return footprint.memory(capacity); },
                    kMostSequences};
  if (!footprint.offload) return {};
  inputs.machine.residency = [footprint](const Capacity& capacity) {
    return footprint.residency(capacity);
  };
  inputs.machine.disk_bytes_per_second = flags.disk_gb_s ? *flags.disk_gb_s * 1e9 : measured_disk;
  inputs.heading.disk = flags.disk_gb_s ? "as stated" : "calibrated";
  return {};
}

// What is asked about offload must have an answer.
Result<void> check_offload(const MachineFlags& flags) {
  if (flags.offload == "auto" && flags.device != "cpu") {
    return usage_error(fmt::format(
        "--offload auto needs --device cpu, and {} holds all weights in its memory", flags.device));
  }
  if (flags.disk_gb_s && flags.offload != "auto")
    return usage_error("--disk-gb-s is for --offload auto, which reads weights from disk");
  return {};
}

}  // namespace

Result<void> prepare_machine(const MachineFlags& flags, const PlanSource& source,
                             const Workload& workload, PlanInputs& inputs) {
  DUNLIN_RETURN_IF_ERROR(check_offload(flags));
  if (flags.device == "cpu") return prepare_cpu(flags, source, workload, inputs);
  return prepare_accelerator(flags, source, inputs);
}

}  // namespace dunlin
