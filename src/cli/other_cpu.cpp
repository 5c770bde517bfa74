#include "cli/other_cpu.h"

#include <sys/resource.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <sstream>

#include "base/steady_clock.h"

namespace dunlin {
namespace {

double seconds_of(const timeval& time) {
  return static_cast<double>(time.tv_sec) + 1e-6 * static_cast<double>(time.tv_usec);
}

// user, nice, system, idle, iowait, irq, softirq, steal; what follows is part of the first two. Old
// systems have fewer.
double busy_ticks(std::istringstream& fields) {
  std::array<double, 8> ticks = {};
  for (double& each : ticks) {
    if (!(fields >> each)) break;
  }
  return ticks[0] + ticks[1] + ticks[2] + ticks[5] + ticks[6] + ticks[7];
}

}  // namespace

std::optional<CpuTimes> parse_proc_stat(const std::string& text, double ticks_per_second) {
  CpuTimes times;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream fields(line);
    std::string name;
    fields >> name;
    if (name == "cpu") {
      times.busy_seconds = busy_ticks(fields) / ticks_per_second;
    } else if (name.starts_with("cpu")) {
      ++times.processors;
    }
  }
  if (times.processors == 0 || times.busy_seconds <= 0) return std::nullopt;
  return times;
}

std::optional<CpuTimes> cpu_times() {
  std::ifstream file("/proc/stat");
  std::ostringstream text;
  text << file.rdbuf();
  const long ticks = ::sysconf(_SC_CLK_TCK);
  rusage usage = {};
  if (ticks <= 0 || ::getrusage(RUSAGE_SELF, &usage) != 0) return std::nullopt;
  auto times = parse_proc_stat(text.str(), static_cast<double>(ticks));
  if (!times.has_value()) return std::nullopt;
  times->own_seconds = seconds_of(usage.ru_utime) + seconds_of(usage.ru_stime);
  times->wall_seconds = 1e-9 * static_cast<double>(steady_nanoseconds());
  return times;
}

std::optional<double> other_cpu(const std::optional<CpuTimes>& before,
                                const std::optional<CpuTimes>& after) {
  if (!before.has_value() || !after.has_value()) return std::nullopt;
  const double wall = after->wall_seconds - before->wall_seconds;
  if (wall <= 0) return std::nullopt;
  const double busy = after->busy_seconds - before->busy_seconds;
  const double own = after->own_seconds - before->own_seconds;
  // The two are counted apart, and a tick is as long as a short test.
  return std::clamp((busy - own) / (wall * after->processors), 0.0, 1.0);
}

}  // namespace dunlin
