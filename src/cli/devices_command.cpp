// `dunlin devices`: the processors this build can compute on.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "backend/pjrt/pjrt_backend.h"
#include "base/cpu_features.h"
#include "base/cpu_topology.h"
#include "base/memory_policy.h"
#include "cli/answer.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/stream_bandwidth.h"

namespace dunlin {
namespace {

using Json = nlohmann::ordered_json;

// Bytes of the caches that processor 0 sees, "l1d_bytes", "l1i_bytes", "l2_bytes", "l3_bytes", from
// /sys.
std::map<std::string, uint64_t> cache_bytes() {
  std::map<std::string, uint64_t> caches;
  for (int index = 0;; ++index) {
    const std::string folder = fmt::format("/sys/devices/system/cpu/cpu0/cache/index{}", index);
    const std::string level = first_line(folder + "/level");
    const auto size = parse_size("cache size", first_line(folder + "/size"));
    if (level.empty() || !size.ok()) return caches;
    const std::string type = first_line(folder + "/type");
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

// A number that the system does not say is null.
Json known(int number) {
  return number > 0 ? Json(number) : Json(nullptr);
}

// What is known of the machine beside its processor's model: fields of `cpu`.
Json topology_json(const CpuTopology& topology, const CpuFeatures& cpu) {
  Json nodes = Json::array();
  for (const NumaNode& node : topology.nodes) {
    nodes.push_back({{"node", node.number},
                     {"processors", node.processors},
                     {"memory_bytes", node.memory_bytes}});
  }
  const MemorySpread& spread = memory_spread();
  return {{"sockets", known(topology.sockets)},
          {"physical_cores", known(topology.cores)},
          {"processors", known(topology.processors)},
          {"usable_processors", known(topology.usable_processors)},
          {"quota_processors", cpu.quota ? Json(*cpu.quota) : Json(nullptr)},
          {"threads", cpu.cores},
          {"numa_nodes", std::move(nodes)},
          {"interleaved_nodes", spread.nodes},
          {"why_not_interleaved", spread.nodes.empty() ? Json(spread.why_not) : Json(nullptr)}};
}

void print_topology(const CpuTopology& topology, const CpuFeatures& cpu) {
  if (topology.processors > 0) {
    const std::string sockets =
        topology.sockets > 0 ? fmt::format("{} with {} cores and", topology.sockets, topology.cores)
                             : std::string("not known;");
    fmt::print("sockets  {} {} processors, {} of which this process may use\n", sockets,
               topology.processors, topology.usable_processors);
  }
  for (const NumaNode& node : topology.nodes) {
    fmt::print("node {:<3} {} processors, {:.1f} GB of memory\n", node.number,
               node.processors.size(), static_cast<double>(node.memory_bytes) / 1e9);
  }
  const MemorySpread& spread = memory_spread();
  fmt::print("memory   {}\n",
             spread.nodes.empty()
                 ? fmt::format("not interleaved: {}", spread.why_not)
                 : fmt::format("interleaved over nodes {}", fmt::join(spread.nodes, ", ")));
  fmt::print("quota    {}\n",
             cpu.quota ? fmt::format("{:.2f} processors", *cpu.quota) : std::string("none"));
  fmt::print("threads  {}, unless -t says otherwise\n", cpu.cores);
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
    Json processor = {{"model", cpu.model}, {"cores", cpu.cores}, {"isa", usable_isas()},
                      {"flags", cpu.flags}, {"caches", caches},   {"stream_gb_s", stream}};
    processor.update(topology_json(cpu_topology(), cpu));
    fmt::print("{}\n", json_line({{"schema_version", 1},
                                  {"cpu", std::move(processor)},
                                  {"pjrt", plugins_json(plugins)}}));
    return {};
  }
  fmt::print("cpu      {}\ncores    {}\nisa      {}\nflags    {}\n", cpu.model, cpu.cores,
             fmt::join(usable_isas(), " "), fmt::join(cpu.flags, " "));
  for (const auto& [name, bytes] : caches)
    fmt::print("{:8} {} KiB\n", name.substr(0, name.find('_')), bytes >> 10);
  print_topology(cpu_topology(), cpu);
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
