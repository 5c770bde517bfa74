#include "cli/trace_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <span>

#include "base/steady_clock.h"

namespace dunlin {
namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kFlushBytes = 1 << 20;
// A test's event begins so much before its first run and ends so much behind the last: a reader that
// rounds microseconds to nanoseconds still finds the runs within it.
constexpr int64_t kMargin = 1000;  // ns

// "layers.0.attend" of "layers.0.attend.q_proj"; empty for a name without a scope.
std::string scope_of(const std::string& name) {
  const size_t dot = name.rfind('.');
  return dot == std::string::npos ? std::string() : name.substr(0, dot);
}

// "linear" of "linear+shared_input".
std::string operation_of(const ProfiledStep& step) {
  return step.operation.substr(0, step.operation.find('+'));
}

Json step_arguments(const ProfiledStep& step, const ProfiledRun& run, const ProfileEvent& event,
                    const Roofs& roofs) {
  const double seconds =
      1e-9 * static_cast<double>(std::max<int64_t>(1, event.end_ns - event.begin_ns));
  const RoofTime roof = roof_time(event.bytes, event.flops, roofs);
  return {{"scope", scope_of(step.name)},
          {"nodes", fmt::format("{}", fmt::join(step.nodes, ", "))},
          {"weights", fmt::format("{}", fmt::join(step.weights, ", "))},
          {"kernel", kernels_text(step, run)},
          {"rows", run.rows},
          {"bytes", event.bytes},
          {"flops", event.flops},
          {"gb_s", event.bytes / seconds / 1e9},
          {"roof", roof.bound()},
          {"roof_fraction", roof.seconds() / seconds}};
}

Json metadata_event(const char* what, int process, int thread, const std::string& name) {
  return {
      {"ph", "M"}, {"name", what}, {"pid", process}, {"tid", thread}, {"args", {{"name", name}}}};
}

}  // namespace

TraceFile::TraceFile(AtomicFile file) : file_(std::move(file)), start_ns_(steady_nanoseconds()) {
  text_ = "{\"displayTimeUnit\": \"ns\", \"traceEvents\": [";
}

Result<TraceFile> TraceFile::create(const std::string& path) {
  DUNLIN_ASSIGN_OR_RETURN(AtomicFile file, AtomicFile::create(path));
  return TraceFile(std::move(file));
}

Result<void> TraceFile::begin_process(const std::string& name, int threads) {
  ++process_;
  DUNLIN_RETURN_IF_ERROR(write(metadata_event("process_name", process_, 0, name)));
  for (int thread = 0; thread < threads; ++thread) {
    const std::string title = thread == 0 ? "caller" : fmt::format("worker {}", thread);
    DUNLIN_RETURN_IF_ERROR(write(metadata_event("thread_name", process_, thread, title)));
  }
  return {};
}

Result<void> TraceFile::add(const std::string& test, const Profile& profile, const Roofs& roofs) {
  if (profile.runs().empty()) return {};
  Json whole = complete_event(test, "test", 0, profile.runs().front().begin_ns - kMargin,
                              profile.runs().back().end_ns + kMargin);
  whole["args"] = {{"runs", profile.runs().size()}, {"lost_runs", profile.lost_runs()}};
  DUNLIN_RETURN_IF_ERROR(write(whole));
  for (const ProfiledRun& run : profile.runs()) {
    Json event =
        complete_event(fmt::format("run of {} rows", run.rows), "run", 0, run.begin_ns, run.end_ns);
    event["args"] = {{"rows", run.rows}};
    DUNLIN_RETURN_IF_ERROR(write(event));
  }
  for (const ProfileEvent& each : profile.events()) {
    const ProfiledStep& step = profile.steps()[static_cast<size_t>(each.step)];
    const ProfiledRun& run = profile.runs()[static_cast<size_t>(each.run)];
    Json event = complete_event(step_title(step), operation_of(step), each.worker, each.begin_ns,
                                each.end_ns);
    event["args"] = each.worker == 0 ? step_arguments(step, run, each, roofs)
                                     : Json{{"busy_us", static_cast<double>(each.busy_ns) / 1e3}};
    DUNLIN_RETURN_IF_ERROR(write(event));
  }
  return {};
}

Result<void> TraceFile::finish(const Json& about) {
  text_ +=
      "\n], \"otherData\": " + about.dump(-1, ' ', false, Json::error_handler_t::replace) + "}\n";
  DUNLIN_RETURN_IF_ERROR(flush());
  return file_.commit();
}

Json TraceFile::complete_event(const std::string& name, const std::string& category, int32_t thread,
                               int64_t begin_ns, int64_t end_ns) const {
  return {{"ph", "X"},
          {"name", name},
          {"cat", category},
          {"pid", process_},
          {"tid", thread},
          {"ts", static_cast<double>(begin_ns - start_ns_) / 1e3},
          {"dur", static_cast<double>(end_ns - begin_ns) / 1e3}};
}

Result<void> TraceFile::write(const Json& event) {
  text_ += empty_ ? "\n" : ",\n";
  text_ += event.dump(-1, ' ', false, Json::error_handler_t::replace);
  empty_ = false;
  return text_.size() < kFlushBytes ? Result<void>() : flush();
}

Result<void> TraceFile::flush() {
  DUNLIN_RETURN_IF_ERROR(file_.write(std::as_bytes(std::span(text_))));
  text_.clear();
  return {};
}

}  // namespace dunlin
