// Sources: NVIDIA's data sheets of H100 SXM and H200, and CUDA's device properties of compute
// capability 9.0; the form of the text is XLA's GpuTargetConfigProto
// (openxla/xla, xla/stream_executor/device_description.proto).
#include "backend/pjrt/target.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <string_view>
#include <system_error>

#include "backend/pjrt/client/client.h"

namespace dunlin::pjrt {
namespace {

Target hopper(const std::string& name, double memory_gb_s, int64_t memory_bytes) {
  return {
      .plugin = "gpu",
      .topology = "",
      .options = {{"topology", "1x1x1"},  // partitions x hosts x devices
                  {"target_config", fmt::format(R"(gpu_device_info {{
  name: "{}" device_vendor: "NVIDIA Corporation"
  cuda_compute_capability {{ major: 9 feature_extension: ACCELERATED_FEATURES }}
  core_count: 132 fpus_per_core: 128 clock_rate_ghz: 1.98 threads_per_warp: 32
  threads_per_block_limit: 1024 threads_per_core_limit: 2048
  shared_memory_per_block: 49152 shared_memory_per_block_optin: 232448
  shared_memory_per_core: 233472
  registers_per_core_limit: 65536 registers_per_block_limit: 65536
  block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535
  thread_dim_limit_x: 1024 thread_dim_limit_y: 1024 thread_dim_limit_z: 64
  l2_cache_size: 52428800 memory_bandwidth: {:.0f} device_memory_size: {}
  driver_version: "13.0.0" runtime_version: "13.0.0" compile_time_toolkit_version: "13.0.0"
}}
platform_name: "CUDA"
dnn_version_info {{ major: 9 minor: 12 patch: 0 }}
device_description_str: "{}")",
                                                name, memory_gb_s * 1e9, memory_bytes, name)}},
      .memory_bytes = static_cast<int64_t>(kCudaMemoryFraction * static_cast<double>(memory_bytes)),
  };
}

// The product of two or three sides: of "4x4", "2x2x1". 0: of anything else.
int64_t grid_size(std::string_view text) {
  constexpr int64_t kLongestSide = 1024;
  int64_t product = 1;
  for (int sides = 1; sides <= 3; ++sides) {
    int64_t side = 0;
    const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), side);
    if (error != std::errc() || side < 1 || side > kLongestSide) return 0;
    product *= side;
    text.remove_prefix(static_cast<size_t>(stop - text.data()));
    if (text.empty()) return sides > 1 ? product : 0;
    if (text.front() != 'x') return 0;
    text.remove_prefix(1);
  }
  return 0;
}

// "v5e", "tpu7x".
bool is_tpu(std::string_view kind) {
  const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
  const auto is_plain = [&](char c) { return is_digit(c) || (c >= 'a' && c <= 'z'); };
  return (kind.starts_with("tpu") || kind.starts_with("v")) &&
         std::ranges::any_of(kind, is_digit) && std::ranges::all_of(kind, is_plain);
}

}  // namespace

Result<Target> find_target(const std::string& name) {
  if (name == "h100") return hopper("NVIDIA H100 80GB HBM3", 3352, 84942979072);
  if (name == "h200") return hopper("NVIDIA H200", 4917, 150754820096);
  const size_t colon = name.find(':');
  if (colon != std::string::npos && is_tpu(std::string_view(name).substr(0, colon))) {
    const int64_t chips = grid_size(std::string_view(name).substr(colon + 1));
    if (chips > 0) return Target{.plugin = "tpu", .topology = name, .chips = chips};
  }
  return usage_error(fmt::format(
      "--topology {}: unknown (h100, h200, or TPUs with their grid, such as v5e:1x1)", name));
}

}  // namespace dunlin::pjrt
