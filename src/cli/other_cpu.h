// How busy other processes keep the machine while something is measured.
#pragma once

#include <optional>
#include <string>

namespace dunlin {

struct CpuTimes {
  double busy_seconds = 0;  // of all processors, by whatever ran on them since the machine started
  double own_seconds = 0;   // of these, by all threads of this process
  double wall_seconds = 0;  // of a clock that never goes back
  int processors = 0;       // of the machine, whatever this process may use
};

// The first and the fourth from the text of /proc/stat (proc(5)): user, nice, system, irq, softirq
// and steal, what another guest of the same host took. Nothing: no such text, or one without a tick,
// as sandboxes have it.
std::optional<CpuTimes> parse_proc_stat(const std::string& text, double ticks_per_second);

// Now. Nothing where the system does not say.
std::optional<CpuTimes> cpu_times();

// Processor time of all but this process between two moments, as a fraction of what the machine's
// processors could give: 0 is a quiet machine. The system counts in ticks of about 10 ms, so of less
// than a second it says little. Nothing where either moment is not known.
std::optional<double> other_cpu(const std::optional<CpuTimes>& before,
                                const std::optional<CpuTimes>& after);

}  // namespace dunlin
