// Device: what the planner knows of one accelerator or processor, and how several are joined. The
// catalogue is one table (device_catalogue.cpp); docs/planning.md has the source of every number.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "backend/packed_forms.h"
#include "base/result.h"
#include "planner/cpu_rates.h"

namespace dunlin {

// How devices of one slice are wired.
struct Interconnect {
  // One way: of one link of a grid, or into the switch.
  double link_bytes_per_second = 0;
  int dimensions = 0;  // of the grid; 0: a switch that every device reaches at full speed
  int64_t wrap = 0;    // a side of the grid is a ring where its length is a multiple; 0: never
  int64_t most_devices = 1;             // joined this way; more talk through the network
  double network_bytes_per_second = 0;  // of a device, one way, beyond them
  double hop_seconds = 0;               // least time of a message to a neighbour
};

// The share of a peak that real programs reach.
struct Efficiency {
  double compute =
      1;  // for rows of a prompt; generated rows, which wait for memory, are taken at 1
  double memory = 1;
  double interconnect = 1;
  std::string origin;  // where the three come from, for people
};

struct Device {
  std::string name;          // "v5e"
  std::string description;   // what one device is: "TPU v5e, a chip"
  int64_t memory_bytes = 0;  // that a program can use
  double memory_bytes_per_second = 0;
  double bf16_flops = 0;     // multiplications and additions of matrices, per second
  double eight_bit_ops = 0;  // the same in int8 or fp8; 0: as bf16
  Interconnect interconnect;
  Efficiency efficiency;
  std::vector<int64_t> slices;  // devices that can be had together, ascending
  // The number in a slice's name for each device: v4-8 has four devices of two cores.
  int64_t name_units = 1;
  // A processor's measured rates: they take the place of peaks times efficiency.
  std::shared_ptr<const CpuRates> cpu = nullptr;
  // Whose forms of weights it holds (backend/packed_forms.h); other: of a file or a processor, which hold
  // weights as they are said to be.
  Platform platform = Platform::other;
  double clock_hz = 0;  // of its matrix units, in which its compiler estimates; 0: not known
};

// Devices of one kind that work together.
struct Slice {
  Device device;
  int64_t devices = 1;

  std::string name() const;  // "v5e-16", "h100-8"; the device's name for one
};

// All kinds, in rising order of age within a maker. Does not hold this machine's processor.
std::span<const Device> device_catalogue();

// "v5e", "v4-8", "v5litepod-16", "h100-8", upper or lower case. Without a number: one device. With
// `split_cores` a v4 or v5p chip is two devices with half of everything. Errors (kind usage): an
// unknown name (the message lists the known ones), a slice that does not exist.
Result<Slice> parse_slice(std::string_view name, bool split_cores);

// Keys as in docs/planning.md; every wrong or missing one is an error (kind usage) that names file
// and key.
Result<Device> read_device_file(const std::string& path);

// Bytes that a device sends per second, one way, when `devices` neighbours pass data around:
// the sum over the sides of their part of the grid, both ways where a side is a ring.
double collective_bandwidth(const Interconnect& interconnect, int64_t devices);

// Steps between the two devices that are farthest apart.
int64_t collective_hops(const Interconnect& interconnect, int64_t devices);

}  // namespace dunlin
