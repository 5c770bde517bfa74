// Watch: looks at chosen values after every step of an executable and remembers the first that
// meets a condition. An executable that nobody watches is none the wiser: watched nodes are outputs
// of another Program, and the statistics are made by a wrapper around its executable.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "backend/api.h"
#include "backend/value_statistics.h"
#include "program/watch_nodes.h"

namespace dunlin {

struct WatchedRow {
  const WatchedValue* value;
  Shape shape;
  ValueStatistics statistics;
};

// Rows in order of execution, up to the first that meets the condition.
struct WatchedStep {
  int64_t number = 0;  // from 1
  int64_t rows = 0;    // of the step
  std::span<const WatchedRow> values;
};

class Watch;

struct WatchOptions {
  std::vector<std::string> patterns = {};  // globs over the names of nodes
  std::optional<WatchCondition> until = {};
  // Each may be empty: statistics are made for a condition or on_step only.
  std::function<void(const Watch&, const WatchedStep&)> on_step = {};
  std::function<void(const WatchedValue&, const View&)> on_value = {};
  // The Program that is watched is recorded with RecordOptions::keeps_hidden.
  bool keeps_hidden = false;
};

class Watch : public std::enable_shared_from_this<Watch> {
 public:
  static std::shared_ptr<Watch> create(WatchOptions options);

  // Makes the nodes outputs of the Program. Errors: watch_nodes().
  Result<void> attach(Program& program);
  // Of the fusions that the back end would make, those that the watched nodes prevent.
  void set_blocked(std::vector<FusedNode> blocked) { blocked_ = std::move(blocked); }
  // An executable of that Program which reports to this watch; its taps are those of the Program
  // before attach().
  std::unique_ptr<Executable> wrap(std::unique_ptr<Executable> executable);

  bool keeps_hidden() const { return options_.keeps_hidden; }
  std::span<const WatchedValue> values() const { return values_; }
  const std::vector<FusedNode>& blocked() const { return blocked_; }

  // Once the condition was met: an error of kind runtime that names the node, what was read, the
  // step and the model's line. Nothing is looked at after that.
  const std::optional<Error>& hit() const { return hit_; }

 private:
  class WatchedExecutable;

  explicit Watch(WatchOptions options) : options_(std::move(options)) {}
  void look(const StepPlan& plan, StepOutput& output);

  WatchOptions options_;
  std::vector<WatchedValue> values_;
  std::vector<FusedNode> blocked_;
  std::vector<WatchedRow> rows_;  // of the step that is looked at
  int64_t steps_ = 0;
  std::optional<Error> hit_;
};

}  // namespace dunlin
