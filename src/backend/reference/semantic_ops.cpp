// The semantic operations on Arrays, row by row over the functions of scalar.h.
#include <algorithm>
#include <cmath>

#include "backend/reference/basic_ops.h"
#include "backend/reference/node_run.h"
#include "backend/reference/scalar.h"
#include "base/check.h"

namespace dunlin::reference {
namespace {

// x + bias for each row of x; nothing when there is no bias.
void add_bias(Array& x, const float* bias, int64_t width) {
  if (bias == nullptr) return;
  for (int64_t i = 0; i < x.size(); ++i) x.f32()[i] = x.f32()[i] + bias[i % width];
}

void run_embed(NodeRun& run) {
  run.result() = gather(run.operand(1), run.operand(0), 0, run.result().shape());
  const float scale = run.attributes<EmbedAttributes>().scale;
  if (scale == 1.0f) return;
  for (int64_t i = 0; i < run.result().size(); ++i) run.result().f32()[i] *= scale;
}

void run_linear(NodeRun& run) {
  Dims leading = run.program.type(run.node.operands[0]).dims;
  leading.pop_back();
  const LinearWeight& weight = run.weights[1]->linear.front();
  linear(weight, run.operand(0).f32(), run.step.classes_of(leading), run.result().f32());
  const Array* bias = run.operand_or_null(2);
  add_bias(run.result(), bias == nullptr ? nullptr : bias->f32(), weight.rows);
}

void run_rms_norm(NodeRun& run) {
  const Array& x = run.operand(0);
  const int64_t width = x.last_dim();
  for (int64_t offset = 0; offset < x.size(); offset += width) {
    rms_norm(x.f32() + offset, run.operand(1).f32(), width, run.attributes<RmsNormAttributes>().eps,
             run.result().f32() + offset);
  }
}

void run_rope_angles(NodeRun& run) {
  const auto& attributes = run.attributes<RopeAnglesAttributes>();
  const auto width = static_cast<int64_t>(2 * attributes.inv_freq.size());
  for (int64_t row = 0; row < run.operand(0).size(); ++row) {
    rope_angles(run.operand(0).i32()[row], attributes, run.result().f32() + row * width);
  }
}

void run_rope(NodeRun& run) {
  const Array& x = run.operand(0);  // [T,n,h]
  const Array& angles = run.operand(1);
  const int64_t heads = x.dim(1);
  const int64_t head_dim = x.dim(2);
  const int64_t angles_per_row = angles.dim(1) * angles.dim(2);
  for (int64_t i = 0; i < x.dim(0) * heads; ++i) {
    rope(x.f32() + i * head_dim, angles.f32() + i / heads * angles_per_row, head_dim,
         run.attributes<RopeAttributes>().rotary_dim, run.result().f32() + i * head_dim);
  }
}

void run_gated(NodeRun& run) {
  for (int64_t i = 0; i < run.result().size(); ++i) {
    run.result().f32()[i] =
        gated(run.attributes<GatedAttributes>(), run.operand(0).f32()[i], run.operand(1).f32()[i]);
  }
}

void run_route(NodeRun& run) {
  const Array& x = run.operand(0);
  const Array& weight = run.operand(1);  // [E,D]
  const Array* bias = run.operand_or_null(2);
  const int64_t expert_count = weight.dim(0);
  const int64_t width = weight.dim(1);
  const auto& attributes = run.attributes<RouteAttributes>();
  std::vector<float> logits(static_cast<size_t>(expert_count));
  for (int64_t row = 0; row < x.dim(0); ++row) {
    for (int64_t e = 0; e < expert_count; ++e) {
      float logit = chain_dot(x.f32() + row * width, weight.f32() + e * width, width);
      if (bias != nullptr) logit = logit + bias->f32()[e];
      logits[static_cast<size_t>(e)] = logit;
    }
    route(logits.data(), expert_count, attributes, run.result(0).i32() + row * attributes.k,
          run.result(1).f32() + row * attributes.k);
  }
}

// One row of x through one expert: y = down(hidden), hidden = gated(gate x, up x).
void run_expert(const NodeRun& run, size_t expert, const float* x, RowClass row_class,
                std::vector<float>& y, Array& hidden) {
  const LinearWeight& gate = run.weights[3]->linear[expert];
  const LinearWeight& up = run.weights[4]->linear[expert];
  const LinearWeight& down = run.weights[5]->linear[expert];
  const auto bias = [&](size_t operand, int64_t width) {
    const Array* biases = run.operand_or_null(operand);
    return biases == nullptr ? nullptr : biases->f32() + static_cast<int64_t>(expert) * width;
  };
  const std::span classes(&row_class, 1);
  Array& g = hidden;  // the gates until then
  Array u(DType::f32, {up.rows});
  linear(gate, x, classes, g.f32());
  add_bias(g, bias(6, gate.rows), gate.rows);
  linear(up, x, classes, u.f32());
  add_bias(u, bias(7, up.rows), up.rows);
  for (int64_t i = 0; i < g.size(); ++i) {
    g.f32()[i] = gated(run.attributes<GatedAttributes>(), g.f32()[i], u.f32()[i]);
  }
  linear(down, g.f32(), classes, y.data());
  const float* down_bias = bias(8, down.rows);
  for (size_t d = 0; d < y.size() && down_bias != nullptr; ++d) y[d] = y[d] + down_bias[d];
}

void run_experts(NodeRun& run) {
  const Array& x = run.operand(0);
  const Array& chosen = run.operand(1);  // [T,k]
  const Array& weights = run.operand(2);
  const int64_t width = x.last_dim();
  const int64_t k = chosen.last_dim();
  const auto expert_count = static_cast<int64_t>(run.weights[3]->linear.size());
  const std::vector<RowClass> classes =
      run.step.classes_of({run.program.type(run.node.operands[0]).dims[0]});
  std::vector<float> y(static_cast<size_t>(width));
  Array hidden(DType::f32, {run.weights[3]->linear.front().rows});
  float* const kept = run.results.size() > 1 ? run.result(1).f32() : nullptr;
  for (int64_t row = 0; row < x.dim(0); ++row) {
    float* sum = run.result().f32() + row * width;
    for (int64_t j = 0; j < k; ++j) {
      const auto expert =
          static_cast<size_t>(std::clamp<int64_t>(chosen.i32()[row * k + j], 0, expert_count - 1));
      run_expert(run, expert, x.f32() + row * width, run.step.row_classes[static_cast<size_t>(row)],
                 y, hidden);
      if (kept != nullptr)
        std::copy_n(hidden.f32(), hidden.size(), kept + (row * k + j) * hidden.size());
      const float weight = weights.f32()[row * k + j];
      for (int64_t d = 0; d < width; ++d) {
        sum[d] = std::fma(weight, y[static_cast<size_t>(d)], sum[d]);
      }
    }
  }
}

template <typename Function>
void map_elements(NodeRun& run, Function fn) {
  const float* x = run.operand(0).f32();
  for (int64_t i = 0; i < run.result().size(); ++i) run.result().f32()[i] = fn(x[i]);
}

// The last row of each sequence, or the mean of its rows: their sum in ascending order / count.
void run_pool(NodeRun& run) {
  const Array& x = run.operand(0);
  const int64_t width = x.last_dim();
  const bool last = run.attributes<PoolAttributes>().kind == PoolAttributes::Kind::last;
  for (size_t s = 0; s < run.step.sequences.size(); ++s) {
    const SequenceRows& rows = run.step.sequences[s];
    float* y = run.result().f32() + static_cast<int64_t>(s) * width;
    for (int64_t row = last ? rows.end - 1 : rows.first; row < rows.end; ++row) {
      for (int64_t d = 0; d < width; ++d) y[d] = y[d] + x.f32()[row * width + d];
    }
    const auto count = static_cast<float>(rows.end - rows.first);
    for (int64_t d = 0; d < width && !last; ++d) y[d] = y[d] / count;
  }
}

void run_logits_view(NodeRun& run) {
  const Array& logits = run.operand(0);  // [R,V]
  const int64_t vocabulary = logits.last_dim();
  const int64_t k = run.attributes<LogitsViewAttributes>().k;
  for (int64_t r = 0; r < logits.dim(0); ++r) {
    const float* row = logits.f32() + r * vocabulary;
    const LogitStatistics s = logit_statistics(row, vocabulary, run.operand(1).f32()[r]);
    const float values[5] = {s.lse, s.lse_temperature, s.entropy, s.varentropy,
                             s.finite ? 1.0f : 0.0f};
    std::copy_n(values, 5, run.result(0).f32() + r * 5);
    top_k(row, vocabulary, k, run.result(1).i32() + r * k, run.result(2).f32() + r * k);
  }
}

// Operands: statistics, ids and logits of the view, temperatures, random numbers.
void run_sample(NodeRun& run) {
  const auto k = static_cast<size_t>(run.operand(1).last_dim());
  for (int64_t r = 0; r < run.result().size(); ++r) {
    const auto first = static_cast<size_t>(r) * k;
    run.result().i32()[r] =
        sample({run.operand(1).i32() + first, k}, {run.operand(2).f32() + first, k},
               run.operand(0).f32()[r * 5 + 1], run.operand(3).f32()[r], run.operand(4).f32()[r]);
  }
}

void run_element_op(NodeRun& run) {
  if (run.node.op == Op::softcap) {
    const float cap = run.attributes<SoftcapAttributes>().cap;
    map_elements(run, [cap](float x) { return softcap(x, cap); });
  } else {
    const ActAttributes::Kind kind = run.attributes<ActAttributes>().kind;
    map_elements(run, [kind](float x) { return act(kind, x); });
  }
}

}  // namespace

void run_semantic(NodeRun& run) {
  switch (run.node.op) {
    case Op::embed:
      return run_embed(run);
    case Op::linear:
      return run_linear(run);
    case Op::rms_norm:
      return run_rms_norm(run);
    case Op::rope_angles:
      return run_rope_angles(run);
    case Op::rope:
      return run_rope(run);
    case Op::attention:
      return run_attention(run);
    case Op::gated:
      return run_gated(run);
    case Op::route:
      return run_route(run);
    case Op::experts:
      return run_experts(run);
    case Op::softcap:
    case Op::act:
      return run_element_op(run);
    case Op::gather_rows:
      run.result() = gather(run.operand(0), run.operand(1), 0, run.result().shape());
      return;
    case Op::pool:
      return run_pool(run);
    case Op::logits_view:
      return run_logits_view(run);
    case Op::sample:
      return run_sample(run);
    case Op::tap:
      run.result() = run.operand(0);
      return;
    default:
      break;
  }
  DUNLIN_CHECK(false, "not a semantic operation");
}

}  // namespace dunlin::reference
