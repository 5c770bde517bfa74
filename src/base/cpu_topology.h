// How the machine's processors and memory are joined: sockets, cores and NUMA nodes, and which of them
// this process may use. From /sys and /proc, so that a virtual machine's are those it is told of.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace dunlin {

// Where the system tells it. Tests name folders of their own.
struct TopologyFiles {
  std::string sys = "/sys";
  std::string proc = "/proc";
};

struct NumaNode {
  int number = 0;
  std::vector<int> processors = {};  // that are online, ascending
  uint64_t memory_bytes = 0;         // 0: it has none of its own
};

struct CpuTopology {
  // Of the machine, of what is online; 0 where the system does not say.
  int sockets = 0;
  int cores = 0;
  int processors = 0;  // threads of cores
  // Of these, in the affinity mask of this process; a quota of its control group is not counted
  // (CpuFeatures::quota).
  int usable_processors = 0;
  std::vector<NumaNode> nodes = {};  // by number
  // Those that this process may have memory of and runs beside: they have memory, and a processor in its
  // affinity mask. Ascending.
  std::vector<int> memory_nodes = {};
};

CpuTopology read_topology(const TopologyFiles& files = {});

// Of this machine, read once.
const CpuTopology& cpu_topology();

// The first line of a file, as of /sys; empty where it is not there.
std::string first_line(const std::string& path);

// "0-3,8" as numbers, ascending; nothing of a text that is no such list, or that names more than 65536.
std::vector<int> parse_cpu_list(const std::string& text);

}  // namespace dunlin
