// Factorisations of the number of devices.
//
// The algebra of the batch at which the choice flips (README of jax-llm-examples' llama3, "FSDP vs
// tensor-parallelism"): tensor parallelism sends 4 T D elements a layer, FSDP the layer's weights, so
// FSDP is cheaper from T* = weight bytes / (4 D activation bytes) rows on. Here both sides come from
// the walk instead: what a step sends is fixed + per_row T, and two lines cross once.
#include "planner/mesh_choice.h"

#include <fmt/format.h>

#include "program/sharding.h"

namespace dunlin {

namespace {

std::vector<int64_t> divisors(int64_t number) {
  std::vector<int64_t> result;
  for (int64_t i = 1; i <= number; ++i) {
    if (number % i == 0) result.push_back(i);
  }
  return result;
}

bool possible(const Program& program, const MeshShape& shape) {
  return device_mesh(program, shape).ok();
}

}  // namespace

std::vector<MeshShape> possible_meshes(const Program& program, int64_t devices) {
  std::vector<MeshShape> result;
  const bool experts = program.has(Op::experts);
  for (const int64_t model : divisors(devices)) {
    for (const int64_t width : divisors(devices / model)) {
      for (const int64_t stage : divisors(devices / model / width)) {
        const int64_t rest = devices / model / width / stage;
        for (const int64_t expert : experts ? divisors(rest) : std::vector<int64_t>{1}) {
          const MeshShape shape{.data = rest / expert,
                                .stage = stage,
                                .fsdp = 1,
                                .expert = expert,
                                .width = width,
                                .model = model};
          if (possible(program, shape)) result.push_back(shape);
        }
      }
    }
  }
  return result;
}

std::vector<Strategy> strategies(const Program& program, int64_t devices) {
  std::vector<Strategy> all;
  const auto add = [&](const char* name, const char* description,
                       const std::vector<MeshShape>& meshes) {
    Strategy strategy{name, description, {}, {}};
    for (const MeshShape& shape : meshes) {
      const auto mesh = device_mesh(program, shape);
      if (mesh.ok()) {
        strategy.meshes.push_back(shape);
      } else if (strategy.why_not.empty()) {
        strategy.why_not = mesh.error().message;
      }
    }
    if (!strategy.meshes.empty()) strategy.why_not.clear();
    all.push_back(std::move(strategy));
  };
  add("data", "a copy of the weights on every device", {{.data = devices}});
  add("tp1", "1-D tensor parallelism: heads and ffn split, weights stay", {{.model = devices}});
  std::vector<MeshShape> planes;
  for (const int64_t width : divisors(devices)) {
    if (width > 1 && width < devices) planes.push_back({.width = width, .model = devices / width});
  }
  add("tp2", "2-D tensor parallelism: the model's width split too", planes);
  if (planes.empty()) all.back().why_not = fmt::format("{} devices make no plane", devices);
  add("fsdp", "weights split at rest, gathered for each use", {{.fsdp = devices}});
  if (program.has(Op::experts)) {
    add("expert", "experts split, rows sent to them", {{.expert = devices}});
  } else {
    all.push_back({"expert", "experts split, rows sent to them", {}, "the model has no experts"});
  }
  add("pipeline", "layers split, one part after the other", {{.stage = devices}});
  return all;
}

std::string strategy_name(const MeshShape& mesh) {
  const int64_t devices = mesh.devices();
  if (devices == 1) return "single";
  if (mesh.data == devices) return "data";
  if (mesh.model == devices) return "tp1";
  if (mesh.model * mesh.width == devices && mesh.width > 1) return "tp2";
  if (mesh.fsdp == devices) return "fsdp";
  if (mesh.expert == devices) return "expert";
  if (mesh.stage == devices) return "pipeline";
  return "mixed";
}

std::optional<double> flip_rows(const SentBytes& a, const SentBytes& b) {
  if (a.per_row <= b.per_row || b.fixed <= a.fixed) return std::nullopt;
  return (b.fixed - a.fixed) / (a.per_row - b.per_row);
}

}  // namespace dunlin
