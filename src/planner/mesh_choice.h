// Meshes for a number of devices, the ways of parallelism compared by what they send, and the batch
// at which the cheapest changes.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "program/mesh.h"
#include "program/program.h"

namespace dunlin {

// Every mesh of `devices` that the Program can be split over, of the axes data, model, width, expert
// (where there are experts) and stage.
std::vector<MeshShape> possible_meshes(const Program& program, int64_t devices);

// A pure way to use all devices.
struct Strategy {
  std::string name;  // "data", "tp1", "tp2", "fsdp", "expert", "pipeline", or "mixed"
  std::string description;
  std::vector<MeshShape> meshes;  // candidates (tp2 has several); empty: not possible
  std::string why_not;
};

std::vector<Strategy> strategies(const Program& program, int64_t devices);

// The strategy that a mesh is; "mixed" where it is none of the pure ones, "single" for one device.
std::string strategy_name(const MeshShape& mesh);

// Bytes that a device sends in a step of T rows: fixed + per_row * T.
struct SentBytes {
  double fixed = 0;
  double per_row = 0;
};

// The number of rows from which `b` sends less than `a`; nothing where it never does or always does.
std::optional<double> flip_rows(const SentBytes& a, const SentBytes& b);

}  // namespace dunlin
