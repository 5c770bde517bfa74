// Sockets, cores and nodes from a tree of the test's own.
#include "base/cpu_topology.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "base/cpu_features.h"
#include "support/temporary_folder.h"

namespace dunlin {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::IsEmpty;

class CpuTopologyTest : public testing::Test {
 protected:
  void put(const std::string& path, const std::string& text) const {
    const fs::path file = folder_.file(path);
    fs::create_directories(file.parent_path());
    std::ofstream(file) << text << "\n";
  }
  void put_processor(int number, int socket, const std::string& siblings) const {
    const std::string own = "sys/devices/system/cpu/cpu" + std::to_string(number) + "/topology/";
    put(own + "physical_package_id", std::to_string(socket));
    put(own + "thread_siblings_list", siblings);
  }
  void put_node(int number, const std::string& processors, int kilobytes) const {
    const std::string own = "sys/devices/system/node/node" + std::to_string(number) + "/";
    put(own + "cpulist", processors);
    const std::string node = "Node " + std::to_string(number) + " ";
    put(own + "meminfo", node + "MemFree:  1 kB\n" + node + "MemTotal:       " +
                             std::to_string(kilobytes) + " kB\n" + node + "MemUsed: 7 kB");
  }
  void put_status(const std::string& processors, const std::string& memory) const {
    put("proc/self/status", "Name:\tx\nCpus_allowed:\tff\nCpus_allowed_list:\t" + processors +
                                "\nMems_allowed:\t3\nMems_allowed_list:\t" + memory);
  }

  // Two sockets of two cores with two threads each; the threads of a core are 0 and 4, 1 and 5, ..
  void put_two_sockets() const {
    put("sys/devices/system/cpu/online", "0-7");
    for (int number = 0; number < 8; ++number) {
      const int core = number % 4;
      put_processor(number, core / 2, std::to_string(core) + "," + std::to_string(core + 4));
    }
    put("sys/devices/system/node/online", "0-1");
    put_node(0, "0-1,4-5", 4096);
    put_node(1, "2-3,6-7", 8192);
  }

  TemporaryFolder folder_;
  const TopologyFiles files_ = {.sys = folder_.file("sys"), .proc = folder_.file("proc")};
};

TEST_F(CpuTopologyTest, CountsSocketsCoresAndNodes) {
  put_two_sockets();
  put_status("0-7", "0-1");
  const CpuTopology topology = read_topology(files_);
  EXPECT_EQ(topology.sockets, 2);
  EXPECT_EQ(topology.cores, 4);
  EXPECT_EQ(topology.processors, 8);
  EXPECT_EQ(topology.usable_processors, 8);
  ASSERT_EQ(topology.nodes.size(), 2u);
  EXPECT_EQ(topology.nodes[1].number, 1);
  EXPECT_THAT(topology.nodes[1].processors, ElementsAre(2, 3, 6, 7));
  EXPECT_EQ(topology.nodes[1].memory_bytes, 8192u << 10);
  EXPECT_THAT(topology.memory_nodes, ElementsAre(0, 1));
}

// As a container or taskset has it: what is beside no thread of ours is far from all of them.
TEST_F(CpuTopologyTest, OnlyNodesBesideOurThreadsCount) {
  put_two_sockets();
  put_status("2,6", "0-1");
  CpuTopology topology = read_topology(files_);
  EXPECT_EQ(topology.usable_processors, 2);
  EXPECT_EQ(topology.cores, 4);  // of the machine
  EXPECT_THAT(topology.memory_nodes, ElementsAre(1));
  put_status("0-7", "1");
  topology = read_topology(files_);
  EXPECT_EQ(topology.usable_processors, 8);
  EXPECT_THAT(topology.memory_nodes, ElementsAre(1));
}

// A node may have processors alone, or memory alone; one may be gone, and processors offline.
TEST_F(CpuTopologyTest, NodesMayLackSomething) {
  put_two_sockets();
  put_status("0-7", "0-3");
  put("sys/devices/system/cpu/online", "0-2,4");
  put("sys/devices/system/node/online", "0-3");
  put_node(1, "2-3,6-7", 0);
  put_node(2, "", 1024);
  const CpuTopology topology = read_topology(files_);
  EXPECT_EQ(topology.processors, 4);
  EXPECT_EQ(topology.cores, 3);
  ASSERT_EQ(topology.nodes.size(), 3u);
  EXPECT_THAT(topology.nodes[1].processors, ElementsAre(2));
  EXPECT_THAT(topology.nodes[2].processors, IsEmpty());
  EXPECT_THAT(topology.memory_nodes, ElementsAre(0));
}

TEST_F(CpuTopologyTest, ASystemThatSaysNothingHasNoNodes) {
  const CpuTopology topology = read_topology(files_);
  EXPECT_EQ(topology.sockets, 0);
  EXPECT_EQ(topology.processors, 0);
  EXPECT_THAT(topology.nodes, IsEmpty());
  EXPECT_THAT(topology.memory_nodes, IsEmpty());
  // Without /proc all processors and all nodes count.
  put_two_sockets();
  EXPECT_EQ(read_topology(files_).usable_processors, 8);
  EXPECT_THAT(read_topology(files_).memory_nodes, ElementsAre(0, 1));
}

TEST_F(CpuTopologyTest, RubbishIsNothing) {
  put_two_sockets();
  put("sys/devices/system/cpu/online", "0-x");
  put("sys/devices/system/node/online", "1-0");
  const CpuTopology topology = read_topology(files_);
  EXPECT_EQ(topology.processors, 0);
  EXPECT_THAT(topology.nodes, IsEmpty());
}

TEST(ParseCpuList, TakesNumbersAndRanges) {
  EXPECT_THAT(parse_cpu_list("0"), ElementsAre(0));
  EXPECT_THAT(parse_cpu_list("8,0-2,1"), ElementsAre(0, 1, 2, 8));
  EXPECT_THAT(parse_cpu_list(""), IsEmpty());
  for (const char* wrong : {"a", "1-", "-1", "3-2", "1,,2", "0-99999999", "0-65535,0-65535", "1 2"})
    EXPECT_THAT(parse_cpu_list(wrong), IsEmpty()) << wrong;
}

TEST(CpuTopology, OfThisMachineAgreesWithItself) {
  const CpuTopology& topology = cpu_topology();
  EXPECT_LE(topology.sockets, topology.cores);
  EXPECT_LE(topology.cores, topology.processors);
  EXPECT_LE(topology.usable_processors, topology.processors);
  EXPECT_LE(topology.memory_nodes.size(), topology.nodes.size());
  if (cpu_features().quota) {
    EXPECT_GT(*cpu_features().quota, 0);
    EXPECT_LE(cpu_features().cores, std::max(1.0, *cpu_features().quota));
  }
}

}  // namespace
}  // namespace dunlin
