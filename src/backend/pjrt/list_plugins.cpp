// list_pjrt_plugins(): each plug-in is loaded and opened in a child process, which reports over a
// pipe.
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <sstream>

#include "backend/pjrt/client/client.h"
#include "backend/pjrt/client/local_calls.h"
#include "backend/pjrt/discover.h"
#include "backend/pjrt/pjrt_backend.h"

namespace dunlin {
namespace {

using Clock = std::chrono::steady_clock;

// The report: lines "version X", "device NAME", "error TEXT".
std::string report_of(const std::string& path, bool cpu) {
  const auto failed = [](const Error& error) { return "error " + error.message + "\n"; };
  const auto calls = pjrt::LocalCalls::load(path);
  if (!calls.ok()) return failed(calls.error());
  std::string report = "version " + (*calls)->plugin().api_version + "\n";
  const auto client = pjrt::Client::create(*calls, cpu ? 1 : 0);
  if (!client.ok()) return report + failed(client.error());
  for (const std::string& name : (*client)->device_names()) report += "device " + name + "\n";
  return report;
}

[[noreturn]] void report_and_leave(const std::string& path, bool cpu, int to) {
  const std::string report = report_of(path, cpu);
  size_t written = 0;
  while (written < report.size()) {
    const ssize_t count = write(to, report.data() + written, report.size() - written);
    if (count <= 0) break;
    written += static_cast<size_t>(count);
  }
  // Neither this program's nor the plug-in's destructors: both belong to the parent's state.
  _exit(0);
}

// What the child wrote until it closed the pipe; false when time ran out first.
bool read_until_closed(int from, double seconds, std::string& text) {
  const auto deadline = Clock::now() + std::chrono::duration<double>(seconds);
  char bytes[4096];
  for (;;) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
    pollfd ready{from, POLLIN, 0};
    if (left <= 0 || poll(&ready, 1, static_cast<int>(left)) == 0) return false;
    const ssize_t count = read(from, bytes, sizeof bytes);
    if (count <= 0) return true;
    text.append(bytes, static_cast<size_t>(count));
  }
}

void parse_report(const std::string& text, PjrtPlugin& plugin) {
  std::istringstream lines(text);
  std::string line;
  while (std::getline(lines, line)) {
    const std::string rest = line.substr(std::min(line.size(), line.find(' ') + 1));
    if (line.starts_with("version ")) {
      plugin.api_version = rest;
    } else if (line.starts_with("device ")) {
      plugin.devices.push_back(rest);
    } else if (line.starts_with("error ")) {
      plugin.why_not = rest;
    }
  }
}

void probe(double seconds, PjrtPlugin& plugin) {
  int ends[2];
  if (pipe(ends) != 0) {
    plugin.why_not = "no pipe for the process that would try it";
    return;
  }
  const pid_t child = fork();
  if (child == 0) {
    close(ends[0]);
    report_and_leave(plugin.path, plugin.name == "cpu-xla", ends[1]);
  }
  close(ends[1]);
  std::string text;
  const bool closed = child > 0 && read_until_closed(ends[0], seconds, text);
  close(ends[0]);
  if (child < 0) {
    plugin.why_not = "no process to try it in";
    return;
  }
  if (!closed) kill(child, SIGKILL);
  int status = 0;
  waitpid(child, &status, 0);
  parse_report(text, plugin);
  if (!closed) {
    plugin.why_not = fmt::format("no answer within {:.0f} s", seconds);
  } else if (WIFSIGNALED(status)) {
    plugin.why_not = fmt::format("it crashed with signal {}", WTERMSIG(status));
  }
}

}  // namespace

std::vector<PjrtPlugin> list_pjrt_plugins(double seconds) {
  std::vector<PjrtPlugin> plugins;
  for (const pjrt::PluginPlace& place : pjrt::known_plugins()) {
    PjrtPlugin plugin{.name = place.name, .path = place.path};
    if (place.path.empty()) {
      plugin.why_not = pjrt::find_plugin(place.name).error().message;
    } else {
      probe(seconds, plugin);
    }
    plugins.push_back(std::move(plugin));
  }
  return plugins;
}

}  // namespace dunlin
