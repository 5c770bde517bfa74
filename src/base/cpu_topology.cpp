// Files: Documentation/admin-guide/cputopology.rst, Documentation/ABI/stable/sysfs-devices-node and
// proc(5) of Linux.
#include "base/cpu_topology.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <iterator>
#include <optional>
#include <set>
#include <sstream>
#include <string_view>
#include <system_error>
#include <utility>

namespace dunlin {
namespace {

constexpr int kMostListed = 1 << 16;

std::optional<int> parse_index(std::string_view text) {
  int number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const bool whole = error == std::errc() && end == text.data() + text.size();
  if (!whole || number < 0 || number >= kMostListed) return std::nullopt;
  return number;
}

// "Node 1 MemTotal:       65536 kB" among other lines.
uint64_t memory_of_node(const std::string& path) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string node, number, name;
    uint64_t kilobytes = 0;
    if (words >> node >> number >> name >> kilobytes && name == "MemTotal:") return kilobytes << 10;
  }
  return 0;
}

// The list behind "Cpus_allowed_list:" or the like; nothing where the system does not say, and all counts.
std::optional<std::vector<int>> allowed(const std::string& status, std::string_view name) {
  std::ifstream file(status);
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with(name)) continue;
    const size_t begin = line.find_first_not_of(" \t", name.size());
    if (begin != std::string::npos) return parse_cpu_list(line.substr(begin));
  }
  return std::nullopt;
}

bool lists(const std::optional<std::vector<int>>& list, int number) {
  return !list || std::ranges::binary_search(*list, number);
}

// Processors of one core have each other in the same list.
void count_cores(const std::string& folder, const std::vector<int>& online, CpuTopology& topology) {
  std::set<std::string> sockets;
  std::set<std::pair<std::string, std::string>> cores;
  for (const int processor : online) {
    const std::string own = fmt::format("{}/cpu{}/topology/", folder, processor);
    const std::string socket = first_line(own + "physical_package_id");
    const std::string siblings = first_line(own + "thread_siblings_list");
    if (socket.empty() || siblings.empty()) continue;
    sockets.insert(socket);
    cores.emplace(socket, siblings);
  }
  topology.sockets = static_cast<int>(sockets.size());
  topology.cores = static_cast<int>(cores.size());
}

std::vector<NumaNode> read_nodes(const std::string& folder, const std::vector<int>& online) {
  std::vector<NumaNode> nodes;
  for (const int number : parse_cpu_list(first_line(folder + "/online"))) {
    const std::string own = fmt::format("{}/node{}/", folder, number);
    NumaNode node{.number = number};
    const std::vector<int> listed = parse_cpu_list(first_line(own + "cpulist"));
    std::ranges::set_intersection(listed, online, std::back_inserter(node.processors));
    node.memory_bytes = memory_of_node(own + "meminfo");
    if (!node.processors.empty() || node.memory_bytes > 0) nodes.push_back(std::move(node));
  }
  return nodes;
}

}  // namespace

std::string first_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

std::vector<int> parse_cpu_list(const std::string& text) {
  std::vector<int> numbers;
  std::istringstream parts(text);
  for (std::string part; std::getline(parts, part, ',');) {
    const size_t dash = part.find('-');
    const auto first = parse_index(std::string_view(part).substr(0, dash));
    const auto last =
        dash == std::string::npos ? first : parse_index(std::string_view(part).substr(dash + 1));
    if (!first || !last || *last < *first) return {};
    for (int number = *first; number <= *last; ++number) numbers.push_back(number);
    if (std::ssize(numbers) > kMostListed) return {};
  }
  std::ranges::sort(numbers);
  const auto repeated = std::ranges::unique(numbers);
  numbers.erase(repeated.begin(), repeated.end());
  return numbers;
}

CpuTopology read_topology(const TopologyFiles& files) {
  const std::string system = files.sys + "/devices/system";
  const std::string status = files.proc + "/self/status";
  CpuTopology topology;
  const std::vector<int> online = parse_cpu_list(first_line(system + "/cpu/online"));
  const auto processors = allowed(status, "Cpus_allowed_list:");
  const auto memory = allowed(status, "Mems_allowed_list:");
  const auto usable = [&processors](int processor) { return lists(processors, processor); };
  topology.processors = static_cast<int>(online.size());
  topology.usable_processors = static_cast<int>(std::ranges::count_if(online, usable));
  count_cores(system + "/cpu", online, topology);
  topology.nodes = read_nodes(system + "/node", online);
  for (const NumaNode& node : topology.nodes) {
    const bool beside = std::ranges::any_of(node.processors, usable);
    if (node.memory_bytes > 0 && beside && lists(memory, node.number))
      topology.memory_nodes.push_back(node.number);
  }
  return topology;
}

const CpuTopology& cpu_topology() {
  static const CpuTopology topology = read_topology();
  return topology;
}

}  // namespace dunlin
