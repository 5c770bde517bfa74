// Profile: what an executable notes while it runs the steps of its compiled Program
// (Executable::record). Its memory is reserved before, so that noting allocates nothing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace dunlin {

// A step of a compiled Program: nodes that run at once.
struct ProfiledStep {
  std::string operation = {};             // with its rewrites: "linear+shared_input"
  std::string name = {};                  // of the node of that operation: "layers.0.attend.q_proj"
  std::vector<std::string> nodes = {};    // names of all, in order of execution
  std::vector<std::string> weights = {};  // names of those it reads
  // As Executable::kernels(): where a kernel depends on the class of rows, the first of the pair
  // ends in " prompt" or " generated".
  std::vector<std::pair<std::string, std::string>> kernels = {};
};

// One call of run(). Times are those of steady_nanoseconds().
struct ProfiledRun {
  int64_t begin_ns = 0;
  int64_t end_ns = 0;
  int64_t rows = 0;
  bool prompt = false;     // it has rows of this class
  bool generated = false;  // and of this one
};

// What a worker did for a step of a run. Worker 0 is the caller: its event is the whole step, from
// its begin to the moment when all workers are done. Others have one where they took part.
struct ProfileEvent {
  int32_t run = 0;   // index into runs()
  int32_t step = 0;  // index into steps()
  int32_t worker = 0;
  int64_t begin_ns = 0;
  int64_t end_ns = 0;
  int64_t busy_ns = 0;  // between them, at work
  // Of the step, with worker 0; 0 with the others. Bytes are the weights and the cached keys and
  // values that it reads, as they are held in memory; of a step that reads neither its operands and
  // results. Operations are those of matrices: two for each weight and row, four for each query
  // head dimension and position it sees.
  double bytes = 0;
  double flops = 0;
};

class Profile {
 public:
  // With room for so many events. A run that does not fit is counted and left out whole.
  explicit Profile(size_t most_events);

  // What an executable calls. begin_run() is false when a run of up to `events` does not fit; then
  // neither of the other two is called for it.
  void describe(std::vector<ProfiledStep> steps) { steps_ = std::move(steps); }
  bool begin_run(const ProfiledRun& run, size_t events) noexcept;
  void add(const ProfileEvent& event) noexcept;
  void end_run(int64_t end_ns) noexcept { runs_.back().end_ns = end_ns; }

  // Forgets what runs left, and keeps the steps and the memory.
  void clear() noexcept;

  std::span<const ProfiledStep> steps() const { return steps_; }
  std::span<const ProfiledRun> runs() const { return runs_; }
  // By run, then by step, then by worker.
  std::span<const ProfileEvent> events() const { return events_; }
  int64_t lost_runs() const { return lost_runs_; }

 private:
  std::vector<ProfiledStep> steps_;
  std::vector<ProfiledRun> runs_;
  std::vector<ProfileEvent> events_;
  int64_t lost_runs_ = 0;
};

}  // namespace dunlin
