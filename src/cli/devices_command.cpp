// `dunlin devices`: the processors this build can compute on.
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "backend/pjrt/pjrt_backend.h"
#include "base/cpu_features.h"
#include "cli/answer.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/stream_bandwidth.h"

namespace dunlin {
namespace {

using Json = nlohmann::ordered_json;

// A line of a file of /sys; empty when it is not there.
std::string read_line(const std::filesystem::path& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

// Bytes of the caches that processor 0 sees, "l1d_bytes", "l1i_bytes", "l2_bytes", "l3_bytes", from
// /sys.
std::map<std::string, uint64_t> cache_bytes() {
  std::map<std::string, uint64_t> caches;
  for (int index = 0;; ++index) {
    const std::filesystem::path folder =
        fmt::format("/sys/devices/system/cpu/cpu0/cache/index{}", index);
    const std::string level = read_line(folder / "level");
    const auto size = parse_size("cache size", read_line(folder / "size"));
    if (level.empty() || !size.ok()) return caches;
    const std::string type = read_line(folder / "type");
    const char* const kind = type == "Data" ? "d" : type == "Instruction" ? "i" : "";
    caches[fmt::format("l{}{}_bytes", level, kind)] = static_cast<uint64_t>(*size);
  }
}

// More than the caches hold, as far as that is quickly read.
uint64_t stream_bytes(const std::map<std::string, uint64_t>& caches) {
  uint64_t largest = 16u << 20;
  for (const auto& [name, bytes] : caches) largest = std::max(largest, bytes);
  return std::min<uint64_t>(4 * largest, 256u << 20);
}

std::vector<std::string> usable_isas() {
  std::vector<std::string> names;
  for (const Isa isa : isas_up_to(cpu_features().best)) names.emplace_back(isa_name(isa));
  return names;
}

Json plugins_json(const std::vector<PjrtPlugin>& plugins) {
  const auto text = [](const std::string& value) {
    return value.empty() ? Json(nullptr) : Json(value);
  };
  Json list = Json::array();
  for (const PjrtPlugin& plugin : plugins) {
    list.push_back({{"plugin", plugin.name},
                    {"path", text(plugin.path)},
                    {"api_version", text(plugin.api_version)},
                    {"devices", plugin.devices},
                    {"why_not", text(plugin.why_not)}});
  }
  return list;
}

void print_plugins(const std::vector<PjrtPlugin>& plugins) {
  if (plugins.empty()) fmt::print("pjrt     not in this build (-DDUNLIN_WITH_PJRT=ON)\n");
  for (const PjrtPlugin& plugin : plugins) {
    fmt::print("pjrt     {}: {}\n", plugin.name,
               plugin.why_not.empty()
                   ? fmt::format("{} ({}, API {})", fmt::join(plugin.devices, ", "), plugin.path,
                                 plugin.api_version)
                   : plugin.why_not);
  }
}

Result<void> devices(bool json) {
  // First, while this process has one thread: plug-ins are tried in forks of it.
  const std::vector<PjrtPlugin> plugins = list_pjrt_plugins();
  const CpuFeatures& cpu = cpu_features();
  const auto caches = cache_bytes();
  DUNLIN_ASSIGN_OR_RETURN(const double stream,
                          measure_stream_gb_s(cpu.cores, stream_bytes(caches), 0.3));
  if (json) {
    fmt::print("{}\n", json_line({{"schema_version", 1},
                                  {"cpu",
                                   {{"model", cpu.model},
                                    {"cores", cpu.cores},
                                    {"isa", usable_isas()},
                                    {"flags", cpu.flags},
                                    {"caches", caches},
                                    {"stream_gb_s", stream}}},
                                  {"pjrt", plugins_json(plugins)}}));
    return {};
  }
  fmt::print("cpu      {}\ncores    {}\nisa      {}\nflags    {}\n", cpu.model, cpu.cores,
             fmt::join(usable_isas(), " "), fmt::join(cpu.flags, " "));
  for (const auto& [name, bytes] : caches)
    fmt::print("{:8} {} KiB\n", name.substr(0, name.find('_')), bytes >> 10);
  fmt::print("stream   {:.1f} GB/s read by {} threads\n", stream, cpu.cores);
  print_plugins(plugins);
  return {};
}

}  // namespace

void add_devices_command(Command app, int& exit_code) {
  Command command = app.add_command("devices", "List what this machine can compute on");
  auto json = std::make_shared<bool>(false);
  add_switch(command, "--json", *json, "print one JSON object");
  command.footer("Example:\n  dunlin devices --json");
  command.callback([json, &exit_code] {
    const auto result = devices(*json);
    exit_code = result.ok() ? 0 : report_error(result.error());
  });
}

}  // namespace dunlin
