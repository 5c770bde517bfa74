#include "cli/bench_machine.h"

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <string>

#include "base/system_memory.h"
#include "cli/bench_model.h"
#include "cli/stream_bandwidth.h"
#include "cli/this_cpu.h"

namespace dunlin {

// VmHWM of /proc/self/status.
uint64_t peak_rss_bytes() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmHWM:")) return std::strtoull(line.c_str() + 6, nullptr, 10) * 1024;
  }
  return 0;
}

// Begins the peak of this process anew (proc(5), clear_refs), so that one model's does not count
// for the next.
void reset_peak_rss() {
  std::ofstream("/proc/self/clear_refs") << "5";
}

Result<double> stream_of(const Model& model) {
  constexpr uint64_t kLeast = 1u << 20;
  constexpr uint64_t kMost = 1u << 30;
  // Weights that are read while the model runs leave little memory, if any.
  const uint64_t most =
      model.executable->offload() ? std::min(kMost, available_memory() / 4) : kMost;
  const uint64_t bytes =
      std::clamp(streamed_weight_bytes(model, /*rows=*/1), kLeast, std::max(kLeast, most));
  return measure_stream_gb_s(model.executable->threads(), bytes, 0.3);
}

std::optional<double> calibrated_peak(const Model& model) {
  if (model.options.backend != "cpu") return std::nullopt;
  const auto rates = kept_rates(model.executable->threads());
  if (!rates.has_value() || rates->isa != model.executable->isa()) return std::nullopt;
  return rates->peak_flops();
}

}  // namespace dunlin
