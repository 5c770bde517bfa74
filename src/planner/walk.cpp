// A rule per operation. Where a contracted dimension is split by some mesh axes, the devices of those
// axes hold partial sums and all-reduce them; that one observation gives every volume of tensor
// parallelism:
//
//   1-D (Megatron; "TP1"):  all-reduce of [T,D] after the attention output and after the down
//                           projection: 2 * 2 T D (n - 1) / n elements a layer and device
//   2-D (Pope et al. 2022, "Efficiently Scaling Transformer Inference", weight-stationary): the same
//                           over n_x devices on T D / n_y, and over n_y on T (Q + K + V + 2 F) / n_x
//   FSDP:                   all-gather of each weight before use: its bytes (n - 1) / n, whatever T
//   pipeline:               [T,D] once from stage to stage
//   experts:                all-to-all of [T,k,D] to the experts and back
//
// An all-reduce sends twice what an all-gather of the same array does (Austin et al. 2025, "How to
// Scale Your Model", chapter 3).
#include "planner/walk.h"

#include <algorithm>
#include <cmath>

#include "program/sharding.h"

namespace dunlin {

namespace {

// The mesh without fsdp: as a weight is used.
Mesh gathered_mesh(const Mesh& mesh) {
  Mesh gathered = mesh;
  gathered.sizes[static_cast<size_t>(MeshAxis::fsdp)] = 1;
  return gathered;
}

// On a device, with the zeros that pad its share.
int64_t weight_bytes(const PlannedModel& model, size_t weight, const Mesh& mesh) {
  const std::vector<AxisList>& dims = model.program->weights[weight].dims;
  int64_t rows = 1;
  for (size_t i = 0; i + 1 < dims.size(); ++i) rows *= shard_extent(mesh, dims[i], model.ffn_unit);
  return model.storage[weight].bytes(rows, shard_extent(mesh, dims.back(), model.ffn_unit));
}

class Walker {
 public:
  Walker(const ShardedModel& sharded, const StepShape& step)
      : sharded_(sharded),
        program_(*sharded.model.program),
        mesh_(gathered_mesh(sharded.mesh)),
        step_(step),
        sizes_{.rows = step.rows(),
               .logit_rows = step.logit_rows,
               .sequences = step.sequences,
               .slots = static_cast<int64_t>(step.cached) + step.rows_each} {}

  std::vector<NodeCost> run() {
    const std::vector<int64_t> stages = node_stages(program_, mesh_.size(MeshAxis::stage));
    std::vector<NodeCost> costs;
    for (size_t i = 0; i < program_.nodes.size(); ++i) {
      cost_ = {};
      cost_.node = static_cast<int32_t>(i);
      visit(program_.nodes[i]);
      gather_weights(program_.nodes[i]);
      const bool ends_stage = i + 1 < stages.size() && stages[i + 1] != stages[i];
      if (ends_stage) send_to_next_stage(program_.nodes[i]);
      costs.push_back(std::move(cost_));
    }
    return costs;
  }

 private:
  bool is_weight(ValueId id) const {
    return program_.values[static_cast<size_t>(id)].kind == Value::Kind::weight;
  }
  WeightId weight_of(ValueId id) const { return program_.values[static_cast<size_t>(id)].weight; }
  const WeightDeclaration& declaration(ValueId id) const {
    return program_.weights[static_cast<size_t>(weight_of(id))];
  }
  double elements(ValueId id) const {
    return static_cast<double>(shard_elements(
        program_.type(id), sharded_.model.axes[static_cast<size_t>(id)], mesh_, sizes_));
  }
  double bytes_of_weight(ValueId id) const {
    return static_cast<double>(
        weight_bytes(sharded_.model, static_cast<size_t>(weight_of(id)), mesh_));
  }

  void visit(const Node& node) {
    switch (node.op) {
      case Op::linear:
        return linear(node);
      case Op::embed:
        return embed(node);
      case Op::rms_norm:
        return rms_norm(node);
      case Op::attention:
        return attention(node);
      case Op::route:
        return route(node);
      case Op::experts:
        return experts(node);
      case Op::logits_view:
        return logits_view(node);
      case Op::dot:
        return dot(node);
      default:
        return;
    }
  }

  // Devices that hold partial sums when `contracted` is summed over.
  int64_t partial_devices(const AxisList& contracted) const {
    int64_t devices = 1;
    for (const AxisSize& axis : contracted) devices *= parts(mesh_, axis.axis);
    return devices;
  }

  void send(CollectiveKind kind, int64_t devices, double bytes) {
    if (devices <= 1 || bytes <= 0) return;
    const auto n = static_cast<double>(devices);
    const double passes = kind == CollectiveKind::all_reduce ? 2 : 1;
    const double share = kind == CollectiveKind::send ? 1 : (n - 1) / n;
    cost_.collectives.push_back({kind, devices, passes * share * bytes});
  }

  void all_reduce(const AxisList& contracted, double elements) {
    send(CollectiveKind::all_reduce, partial_devices(contracted), elements * kActivationBytes);
  }

  void linear(const Node& node) {
    if (!is_weight(node.operands[1])) return;
    const WeightDeclaration& weight = declaration(node.operands[1]);
    const double result = elements(node.results[0]);
    cost_.weight = weight_of(node.operands[1]);
    cost_.flops = 2 * result * static_cast<double>(shard_extent(mesh_, weight.dims[1]));
    cost_.weight_bytes = bytes_of_weight(node.operands[1]);
    cost_.elements = elements(node.operands[0]) + result;
    all_reduce(weight.dims[1], result);
  }

  // Rows of the table that are looked up; every device looks for its part of the vocabulary.
  void embed(const Node& node) {
    if (!is_weight(node.operands[1])) return;
    const WeightDeclaration& weight = declaration(node.operands[1]);
    const Storage& storage =
        sharded_.model.storage[static_cast<size_t>(weight_of(node.operands[1]))];
    cost_.weight_bytes =
        static_cast<double>(storage.bytes(sizes_.rows, shard_extent(mesh_, weight.dims[1])));
    all_reduce(weight.dims[0], elements(node.results[0]));
  }

  // A split row needs the sum of the squares of all its parts: one number a row.
  void rms_norm(const Node& node) {
    const ValueAxes& axes = sharded_.model.axes[static_cast<size_t>(node.operands[0])];
    const int64_t devices = partial_devices(axes.back());
    if (devices == 1) return;
    const double width =
        axes.back().empty() ? 1 : static_cast<double>(shard_extent(mesh_, axes.back()));
    send(CollectiveKind::all_reduce, devices, 4 * elements(node.operands[0]) / width);
  }

  void attention(const Node& node) {
    const auto& attributes = std::get<AttentionAttributes>(node.attributes);
    const double visible = visible_positions(attributes, step_);
    cost_.flops = 4 * elements(node.operands[0]) * visible;
    const Dim& head_dim = program_.type(node.operands[0]).dims.back();  // of [T,H,h]
    cost_.scores = elements(node.operands[0]) / static_cast<double>(sizes_.of(head_dim)) * visible;
    cost_.row_scores = cost_.scores / static_cast<double>(step_.rows_each);
    const ValueAxes& keys = sharded_.model.axes[static_cast<size_t>(node.operands[1])];
    const Dims& dims = program_.type(node.operands[1]).dims;  // [T,K,h]
    const auto local = [&](size_t dim) {
      return keys[dim].empty() ? sizes_.of(dims[dim]) : shard_extent(mesh_, keys[dim]);
    };
    const int64_t position = sharded_.model.keys.bytes(local(1), local(2)) +
                             sharded_.model.values.bytes(local(1), local(2));
    cost_.kv_bytes = static_cast<double>(step_.sequences) * read_positions(attributes, step_) *
                     static_cast<double>(position);
  }

  void route(const Node& node) {
    const WeightDeclaration& weight = declaration(node.operands[1]);
    const double logits = static_cast<double>(sizes_.rows * extent(weight.dims[0]));
    // Every device scores all experts for its rows: the router's rows are gathered.
    const int64_t experts = parts(mesh_, Axis::experts);
    cost_.weight_bytes = bytes_of_weight(node.operands[1]) * static_cast<double>(experts);
    cost_.flops = 2 * logits * static_cast<double>(shard_extent(mesh_, weight.dims[1]));
    send(CollectiveKind::all_gather, experts, cost_.weight_bytes);
    send(CollectiveKind::all_reduce, partial_devices(weight.dims[1]), 4 * logits);
  }

  void experts(const Node& node) {
    const WeightDeclaration& gate = declaration(node.operands[3]);  // [E,F,D]
    const WeightDeclaration& down = declaration(node.operands[5]);  // [E,D,F]
    const int64_t k = program_.type(node.operands[1]).dims.back().size;
    const int64_t all = extent(gate.dims[0]);
    const int64_t ways = parts(mesh_, Axis::experts);
    const double ffn = static_cast<double>(shard_extent(mesh_, gate.dims[1]));
    const double width = static_cast<double>(shard_extent(mesh_, gate.dims[2]));
    // Rows of all replicas that share the experts meet here, k times each, spread evenly.
    const double pairs = static_cast<double>(sizes_.rows * k);
    const double touched = touched_experts(all, k, sizes_.rows * ways) / static_cast<double>(all);
    cost_.weight = weight_of(node.operands[3]);
    cost_.flops = 2 * pairs * 3 * ffn * width;
    cost_.elements = pairs * 3 * (ffn + width);
    for (const size_t stack : {3, 4, 5}) {
      cost_.weight_bytes += touched * bytes_of_weight(node.operands[stack]);
    }
    const double moved = pairs * width * kActivationBytes;
    send(CollectiveKind::all_to_all, ways, moved);
    all_reduce(gate.dims[2], 2 * pairs * ffn);
    all_reduce(down.dims[2], pairs * width);
    send(CollectiveKind::all_to_all, ways, moved);
  }

  // The candidates of every part of the vocabulary: a number and an id each, and four statistics.
  void logits_view(const Node& node) {
    const ValueAxes& axes = sharded_.model.axes[static_cast<size_t>(node.operands[0])];
    const int64_t devices = partial_devices(axes.back());
    const auto k = std::get<LogitsViewAttributes>(node.attributes).k;
    const double row = static_cast<double>(devices * (8 * k + 16));
    send(CollectiveKind::all_gather, devices, row * static_cast<double>(sizes_.logit_rows));
  }

  // Of definitions: whole on every device.
  void dot(const Node& node) {
    const auto& attributes = std::get<DotAttributes>(node.attributes);
    const Dims& left = program_.type(node.operands[0]).dims;
    double flops = 2 * elements(node.results[0]);
    for (const int64_t axis : attributes.contract_left) {
      flops *= static_cast<double>(sizes_.of(left[static_cast<size_t>(axis)]));
    }
    cost_.flops = flops;
  }

  void gather_weights(const Node& node) {
    const int64_t devices = sharded_.mesh.size(MeshAxis::fsdp);
    if (devices == 1) return;
    for (const ValueId id : node.operands) {
      if (is_weight(id)) send(CollectiveKind::all_gather, devices, bytes_of_weight(id));
    }
  }

  void send_to_next_stage(const Node& node) {
    double bytes = 0;
    for (const ValueId id : node.results) bytes += elements(id) * kActivationBytes;
    send(CollectiveKind::send, mesh_.size(MeshAxis::stage), bytes);
  }

  const ShardedModel& sharded_;
  const Program& program_;
  Mesh mesh_;
  StepShape step_;
  SymbolSizes sizes_;
  NodeCost cost_;
};

}  // namespace

PlannedModel::PlannedModel(const Program& recorded, WeightStorage weights, Storage of_keys,
                           Storage of_values)
    : program(&recorded),
      storage(std::move(weights)),
      keys(std::move(of_keys)),
      values(std::move(of_values)),
      ffn_unit(ffn_unit_of(recorded, storage)),
      axes(value_axes(recorded)),
      live(analyse_liveness(recorded)) {}

std::vector<NodeCost> walk(const ShardedModel& sharded, const StepShape& step) {
  return Walker(sharded, step).run();
}

int64_t resting_bytes(const ShardedModel& sharded, WeightId weight) {
  return weight_bytes(sharded.model, static_cast<size_t>(weight), sharded.mesh);
}

int64_t gathered_bytes(const ShardedModel& sharded, WeightId weight) {
  return weight_bytes(sharded.model, static_cast<size_t>(weight), gathered_mesh(sharded.mesh));
}

double visible_positions(const AttentionAttributes& attention, const StepShape& step) {
  const auto rows = static_cast<double>(step.rows_each);
  const auto window = attention.window > 0 ? static_cast<double>(attention.window) : INFINITY;
  if (attention.mask == MaskKind::full) return std::min(step.cached + rows, window);
  // Row i sees cached + i + 1 positions until the window is full.
  const double growing = std::clamp(window - step.cached, 0.0, rows);
  const double of_growing = growing * (step.cached + (growing + 1) / 2);
  const double of_full = growing < rows ? (rows - growing) * window : 0;
  return (of_growing + of_full) / rows;
}

double read_positions(const AttentionAttributes& attention, const StepShape& step) {
  const auto rows = static_cast<double>(step.rows_each);
  if (!attention.stateful) return 0;
  const double all = step.cached + rows;
  if (attention.window == 0) return all;
  return std::min(all, static_cast<double>(attention.window) + rows - 1);
}

double touched_experts(int64_t experts, int64_t k, int64_t rows) {
  const auto all = static_cast<double>(experts);
  const double missed = 1 - static_cast<double>(k) / all;
  return all * (1 - std::pow(missed, static_cast<double>(rows)));
}

}  // namespace dunlin
