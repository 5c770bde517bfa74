#include "cli/this_cpu.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <span>
#include <sstream>

#include "backend/cpu/cpu_backend.h"
#include "base/byte_source.h"
#include "base/cpu_features.h"
#include "base/system_memory.h"
#include "base/user_folders.h"
#include "cli/disk_bandwidth.h"
#include "cli/pack_cache_flags.h"
#include "cli/stream_bandwidth.h"
#include "cli/terminal.h"
#include "planner/calibrate.h"

namespace dunlin {
namespace {

using Clock = std::chrono::steady_clock;

constexpr uint64_t kMostRatesBytes = 1 << 20;
constexpr int64_t kMegabyte = 1 << 20;
constexpr uint64_t kDiskBytes = 256 << 20;

std::string read_file(const std::filesystem::path& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

#if defined(__aarch64__)
#define DUNLIN_ADD "add %0, %0, %1\n"
#else
#define DUNLIN_ADD "add %1, %0\n"
#endif
#define DUNLIN_ADD_FOUR DUNLIN_ADD DUNLIN_ADD DUNLIN_ADD DUNLIN_ADD

// Clock rate under load: a chain of additions takes a cycle each. (Of registers: processors like Golden Cove add up
// constants as they rename, several in a cycle.)
double measured_hertz() {
  constexpr int64_t kAdditions = 40'000'000;
  uint64_t value = 0;
  const uint64_t one = 1;
  double best = 0;
  for (int attempt = 0; attempt < 3; ++attempt) {
    const auto start = Clock::now();
    for (int64_t i = 0; i < kAdditions / 8; ++i) {
      asm volatile(DUNLIN_ADD_FOUR DUNLIN_ADD_FOUR : "+r"(value) : "r"(one));
    }
    const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
    best = std::max(best, static_cast<double>(kAdditions) / seconds);
  }
  return best;
}

int thread_count(int threads) {
  return threads > 0 ? threads : cpu_features().cores;
}

Result<double> stream(int threads, uint64_t bytes, double seconds) {
  DUNLIN_ASSIGN_OR_RETURN(const double gigabytes, measure_stream_gb_s(threads, bytes, seconds));
  return gigabytes * 1e9;
}

// Bytes per second of the disk that --offload reads from; 0 where it cannot be measured, as a note says.
double disk_of_packed_weights() {
  const std::string folder = PackCacheFlags().settings().folder;
  const auto measured = folder.empty() ? Result<double>(runtime_error("no folder for caches"))
                                       : measure_disk_gb_s(folder, kDiskBytes, 1);
  if (measured.ok()) return *measured * 1e9;
  note("the disk was not measured: {}\n", measured.error().message);
  return 0;
}

}  // namespace

std::string calibration_path(int threads) {
  const auto folder = cache_folder();
  if (!folder) return "";
  std::string name = cpu_features().model;
  std::ranges::replace_if(name, [](unsigned char c) { return std::isalnum(c) == 0; }, '-');
  return fmt::format("{}/calibration/{}-{}-{}.json", *folder, name, isa_name(cpu_features().best),
                     thread_count(threads));
}

Result<CpuRates> calibrate_this_cpu(int threads) {
  const auto backend = make_cpu_backend();
  ProgressBar bar(true);
  DUNLIN_ASSIGN_OR_RETURN(
      CpuRates rates,
      calibrate(*backend, {.cpu = cpu_features().model,
                           .threads = thread_count(threads),
                           .hertz = measured_hertz(),
                           .stream = stream,
                           .progress = [&bar](double fraction, const std::string& what) {
                             bar.update(fraction, what);
                           }}));
  bar.clear();
  rates.disk_bytes_per_second = disk_of_packed_weights();
  const std::string path = calibration_path(threads);
  if (path.empty()) {
    note("none of DUNLIN_CACHE, XDG_CACHE_HOME and HOME is set: the measurement is not kept\n");
    return rates;
  }
  std::error_code error;
  std::filesystem::create_directories(std::filesystem::path(path).parent_path(), error);
  const std::string text = to_json(rates);
  DUNLIN_RETURN_IF_ERROR(write_file_atomically(path, std::as_bytes(std::span(text))));
  note("kept in {}\n", path);
  return rates;
}

std::optional<CpuRates> kept_rates(int threads) {
  const std::string path = calibration_path(threads);
  std::error_code ignored;
  if (path.empty() || !std::filesystem::exists(path, ignored)) return std::nullopt;
  const auto text = read_text_file(path, kMostRatesBytes);
  auto rates = text.ok() ? parse_cpu_rates(*text, path) : Result<CpuRates>(text.error());
  if (rates.ok()) return *std::move(rates);
  note("{}; it is not used\n", rates.error().message);
  return std::nullopt;
}

Result<CpuRates> rates_of_this_cpu(int threads) {
  if (auto kept = kept_rates(threads)) return *std::move(kept);
  const int count = thread_count(threads);
  std::vector<StreamPoint> points;
  for (const int64_t bytes : {64 * kMegabyte, 256 * kMegabyte}) {
    DUNLIN_ASSIGN_OR_RETURN(const double rate, stream(count, static_cast<uint64_t>(bytes), 0.15));
    points.push_back({static_cast<double>(bytes), rate});
  }
  return typical_rates({.cpu = cpu_features().model,
                        .isa = isa_name(cpu_features().best),
                        .threads = count,
                        .hertz = measured_hertz()},
                       std::move(points));
}

int64_t available_bytes() {
  return static_cast<int64_t>(std::min<uint64_t>(available_memory(), INT64_MAX));
}

Device cpu_device(CpuRates rates) {
  Device device;
  device.name = "cpu";
  device.description = fmt::format("{}, {} threads, {}", rates.cpu, rates.threads, rates.isa);
  device.memory_bytes = available_bytes();
  device.memory_bytes_per_second = rates.stream.back().bytes_per_second;
  device.bf16_flops = rates.peak_flops();
  device.efficiency.origin = rates.calibrated
                                 ? "calibrated on this machine"
                                 : "stream measured now, the rest typical of the instruction set; "
                                   "--calibrate measures it";
  device.slices = {1};
  device.cpu = std::make_shared<const CpuRates>(std::move(rates));
  return device;
}

int64_t resident_bytes() {
  // Pages: all, resident, ..
  std::istringstream fields(read_file("/proc/self/statm"));
  int64_t all = 0;
  int64_t resident = 0;
  fields >> all >> resident;
  return resident * sysconf(_SC_PAGESIZE);
}

double load_average() {
  double loads[1] = {};
  return getloadavg(loads, 1) == 1 ? loads[0] : 0.0;
}

}  // namespace dunlin
