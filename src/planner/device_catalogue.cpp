// The table of devices, and names of slices. Sources of every number: docs/planning.md, "Devices".
#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>
#include <iterator>
#include <string_view>
#include <utility>

#include "base/ascii.h"
#include "planner/device.h"

namespace dunlin {

namespace {

constexpr double kGiB = 1024.0 * 1024.0 * 1024.0;

// Of Llama-3.1-70B on v5e-16, fitted by tools/fit_efficiency.py on 12 of 24 published rows;
// tests/planner/published_tables_test.cpp checks the other 12. Compute: prompts of the published GPU rows
// reach 43 to 50 % of the peak and the scaling book plans with 40 %.
const Efficiency kFitted = {.compute = 0.40,
                            .memory = 0.96,
                            .interconnect = 0.47,
                            .origin = "fitted to 12 published decode rows of v5e-16"};
const Efficiency kAssumed = {
    .compute = 0.40, .memory = 0.96, .interconnect = 0.47, .origin = "assumed to be those of v5e"};

constexpr double kTpuHop = 0.49e-6;  // fitted with the two above
constexpr double kGpuHop = 4e-6;     // assumed: a small all-reduce over NVLink takes about 8 us

const std::vector<int64_t> kV2Slices = {8, 32, 128, 256, 512};
const std::vector<int64_t> kV3Slices = {8, 32, 64, 128, 256, 512, 1024, 2048};
const std::vector<int64_t> kLiteSlices = {1, 4, 8, 16, 32, 64, 128, 256};
const std::vector<int64_t> kCubeSlices = {4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096};
const std::vector<int64_t> kIronwoodSlices = {8,   16,   32,   64,   128,  256,
                                              512, 1024, 2048, 4096, 8192, 16384};
const std::vector<int64_t> kGpuSlices = {1, 2, 4, 8, 16, 32, 64, 128, 256};

Interconnect grid(double link, int dimensions, int64_t wrap, int64_t most, double network) {
  return {.link_bytes_per_second = link,
          .dimensions = dimensions,
          .wrap = wrap,
          .most_devices = most,
          .network_bytes_per_second = network,
          .hop_seconds = kTpuHop};
}

Interconnect nvlink(double into_switch, double network) {
  return {.link_bytes_per_second = into_switch,
          .dimensions = 0,
          .wrap = 0,
          .most_devices = 8,
          .network_bytes_per_second = network,
          .hop_seconds = kGpuHop};
}

// Of TPUs: the peak is 2 operations in each cycle for each cell of the matrix units.
double clock_of(std::string_view name) {
  constexpr std::pair<std::string_view, double> kClocks[] = {{"v2", 0.70e9},  {"v3", 0.94e9},
                                                             {"v4", 1.05e9},  {"v5e", 1.50e9},
                                                             {"v5p", 1.75e9}, {"v6e", 1.75e9}};
  const auto* const known =
      std::ranges::find(kClocks, name, &std::pair<std::string_view, double>::first);
  return known == std::end(kClocks) ? 0 : known->second;
}

std::vector<Device> make_catalogue() {
  const auto gib = [](double amount) { return static_cast<int64_t>(amount * kGiB); };
  // Columns: name, what a device is, memory, bytes and bf16 and 8-bit operations per second, wires,
  // efficiency, slices, units of a slice's name.
  std::vector<Device> devices = {
      {"v2", "TPU v2, one of a chip's two cores", gib(7.48), 350e9, 23e12, 0,
       grid(31e9, 2, 16, 512, 1.5e9), kAssumed, kV2Slices, 1},
      {"v3", "TPU v3, one of a chip's two cores", gib(15.48), 450e9, 61.5e12, 0,
       grid(41e9, 2, 32, 2048, 1.5e9), kAssumed, kV3Slices, 1},
      {"v4", "TPU v4, a chip (its two cores as one device)", gib(30.75), 1200e9, 275e12, 275e12,
       grid(45e9, 3, 4, 4096, 6.25e9), kAssumed, kCubeSlices, 2},
      {"v5e", "TPU v5e, a chip", gib(15.75), 819e9, 197e12, 393e12, grid(45e9, 2, 16, 256, 3.125e9),
       kFitted, kLiteSlices, 1},
      {"v5p", "TPU v5p, a chip (its two cores as one device)", gib(95.74), 2765e9, 459e12, 918e12,
       grid(90e9, 3, 4, 6144, 6.25e9), kAssumed, kCubeSlices, 2},
      {"v6e", "TPU v6e (Trillium), a chip", gib(31.25), 1638e9, 918e12, 1836e12,
       grid(90e9, 2, 16, 256, 12.5e9), kAssumed, kLiteSlices, 1},
      {"v7x", "TPU v7x (Ironwood), one of a chip's two halves", gib(94.75), 3690e9, 1153.5e12,
       2307e12, grid(45e9, 3, 4, 18432, 6.25e9), kAssumed, kIronwoodSlices, 1},
      {"a100", "NVIDIA A100 SXM 80 GB", gib(79.5), 2039e9, 312e12, 624e12, nvlink(300e9, 25e9),
       kAssumed, kGpuSlices, 1},
      {"h100", "NVIDIA H100 SXM 80 GB", gib(79.15), 3350e9, 989e12, 1979e12, nvlink(450e9, 50e9),
       kAssumed, kGpuSlices, 1},
      {"h200", "NVIDIA H200 SXM 141 GB", gib(139.9), 4800e9, 989e12, 1979e12, nvlink(450e9, 50e9),
       kAssumed, kGpuSlices, 1},
  };
  for (Device& device : devices) {
    device.platform = device.interconnect.dimensions > 0 ? Platform::tpu : Platform::gpu;
    device.clock_hz = clock_of(device.name);
  }
  return devices;
}

// Other spellings of the makers.
std::string canonical_name(const std::string& name) {
  if (name == "v5litepod") return "v5e";
  if (name == "tpu7x" || name == "v7") return "v7x";
  return name.starts_with("tpu-") ? name.substr(4) : name;
}

const Device* find_device(const std::string& name) {
  const auto catalogue = device_catalogue();
  const auto it = std::ranges::find(catalogue, name, &Device::name);
  return it == catalogue.end() ? nullptr : &*it;
}

std::string known_names() {
  std::string names;
  for (const Device& device : device_catalogue()) {
    names += fmt::format("{}{}", names.empty() ? "" : ", ", device.name);
  }
  return names;
}

// Each half of a chip whose cores usually work as one device.
Device split(const Device& chip) {
  Device core = chip;
  core.description = fmt::format("TPU {}, one of a chip's two cores", chip.name);
  core.memory_bytes /= 2;
  core.memory_bytes_per_second /= 2;
  core.bf16_flops /= 2;
  core.eight_bit_ops /= 2;
  core.interconnect.link_bytes_per_second /= 2;
  core.interconnect.most_devices *= 2;
  core.interconnect.network_bytes_per_second /= 2;
  for (int64_t& devices : core.slices) devices *= 2;
  core.name_units = 1;
  return core;
}

std::string slice_names(const Device& device) {
  std::string names;
  for (const int64_t devices : device.slices) {
    names += fmt::format("{}{}", names.empty() ? "" : ", ", Slice{device, devices}.name());
  }
  return names;
}

// Sides of the part of the grid that `devices` fill, as near to each other as factors allow: 16 in a
// plane is 4 x 4, 8 is 2 x 4.
std::vector<int64_t> grid_sides(int64_t devices, int dimensions) {
  std::vector<int64_t> sides;
  int64_t rest = devices;
  for (int left = dimensions; left > 1; --left) {
    const double ideal = std::pow(static_cast<double>(rest), 1.0 / left);
    int64_t side = std::max<int64_t>(1, static_cast<int64_t>(ideal + 1e-9));
    while (rest % side != 0) --side;
    sides.push_back(side);
    rest /= side;
  }
  sides.push_back(rest);
  return sides;
}

bool is_ring(const Interconnect& interconnect, int64_t side) {
  return interconnect.wrap > 0 && side % interconnect.wrap == 0;
}

}  // namespace

std::string Slice::name() const {
  const int64_t number = devices * device.name_units;
  return number == 1 ? device.name : fmt::format("{}-{}", device.name, number);
}

std::span<const Device> device_catalogue() {
  static const std::vector<Device> kCatalogue = make_catalogue();
  return kCatalogue;
}

Result<Slice> parse_slice(std::string_view name, bool split_cores) {
  const std::string lower = ascii_lower(name);
  const size_t dash = lower.rfind('-');
  const bool numbered = dash != std::string::npos && dash + 1 < lower.size() &&
                        std::isdigit(static_cast<unsigned char>(lower[dash + 1])) != 0;
  const std::string kind = canonical_name(numbered ? lower.substr(0, dash) : lower);
  const Device* found = find_device(kind);
  if (found == nullptr) {
    return usage_error(
        fmt::format("device {}: unknown (known: {}, cpu, or a JSON file)", name, known_names()));
  }
  const bool two_cores = found->name_units == 2;
  if (split_cores && !two_cores) {
    return usage_error(
        fmt::format("device {}: its cores are not joined; --split-cores is for v4 "
                    "and v5p",
                    name));
  }
  Slice slice{split_cores ? split(*found) : *found, 1};
  if (!numbered) return slice;
  int64_t number = 0;
  const char* const end = lower.data() + lower.size();
  const auto [rest, error] = std::from_chars(lower.data() + dash + 1, end, number);
  slice.devices = number / slice.device.name_units;
  const bool whole = error == std::errc() && rest == end && number % slice.device.name_units == 0;
  if (!whole ||
      std::ranges::find(slice.device.slices, slice.devices) == slice.device.slices.end()) {
    return usage_error(
        fmt::format("device {}: no such slice (there are {}; --devices takes any "
                    "number)",
                    name, slice_names(slice.device)));
  }
  return slice;
}

double collective_bandwidth(const Interconnect& interconnect, int64_t devices) {
  if (devices > interconnect.most_devices) return interconnect.network_bytes_per_second;
  if (interconnect.dimensions == 0) return interconnect.link_bytes_per_second;
  double links = 0;
  for (const int64_t side : grid_sides(devices, interconnect.dimensions)) {
    if (side > 1) links += is_ring(interconnect, side) ? 2 : 1;
  }
  return links * interconnect.link_bytes_per_second;
}

int64_t collective_hops(const Interconnect& interconnect, int64_t devices) {
  if (devices <= 1) return 0;
  if (interconnect.dimensions == 0 || devices > interconnect.most_devices) return 1;
  int64_t hops = 0;
  for (const int64_t side : grid_sides(devices, interconnect.dimensions)) {
    hops += is_ring(interconnect, side) ? side / 2 : side - 1;
  }
  return hops;
}

}  // namespace dunlin
