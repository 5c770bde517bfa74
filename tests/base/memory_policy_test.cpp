// Which nodes memory is spread over, and that the system is asked for just that.
#include "base/memory_policy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/mempolicy.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstddef>
#include <vector>

namespace dunlin {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

CpuTopology with_nodes(const std::vector<int>& nodes) {
  CpuTopology topology;
  topology.memory_nodes = nodes;
  return topology;
}

TEST(ChooseSpread, IsOverSeveralNodesThatNobodyChose) {
  EXPECT_THAT(choose_spread(with_nodes({0, 2}), false).nodes, ElementsAre(0, 2));
  EXPECT_EQ(choose_spread(with_nodes({0, 2}), false).why_not, "");
  for (const std::vector<int>& few : {std::vector<int>{}, std::vector<int>{3}}) {
    EXPECT_THAT(choose_spread(with_nodes(few), false).nodes, IsEmpty());
    EXPECT_EQ(choose_spread(with_nodes(few), false).why_not, "one node");
  }
  const MemorySpread chosen = choose_spread(with_nodes({0, 1}), true);
  EXPECT_THAT(chosen.nodes, IsEmpty());
  EXPECT_THAT(chosen.why_not, HasSubstr("policy of its own"));
}

TEST(NodeMask, HasABitForEachNode) {
  EXPECT_THAT(node_mask(std::vector<int>{}), IsEmpty());
  EXPECT_THAT(node_mask(std::vector<int>{0, 1, 5}), ElementsAre(0x23ul));
  EXPECT_THAT(node_mask(std::vector<int>{64, 3}), ElementsAre(0x8ul, 0x1ul));
  EXPECT_THAT(node_mask(std::vector<int>{129}), ElementsAre(0ul, 0ul, 0x2ul));
}

// Every machine has node 0, and one node may be interleaved, too; a container may forbid the call.
TEST(InterleavePages, ThePolicyOfTheMappingIsWhatWasAskedFor) {
  const auto page = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
  const size_t bytes = 8 * page;
  void* const memory =
      ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(memory, MAP_FAILED);
  const auto done = interleave_pages(memory, bytes, std::vector<int>{0});
  if (done.ok()) {
    int mode = MPOL_DEFAULT;
    unsigned long mask[16] = {};
    const unsigned long bits = 16 * 64;
    const long asked =
        ::syscall(SYS_get_mempolicy, &mode, mask, bits, static_cast<char*>(memory) + 3 * page,
                  static_cast<unsigned long>(MPOL_F_ADDR));
    if (asked == 0) {  // one may be allowed, and the other not
      EXPECT_EQ(mode, static_cast<int>(MPOL_INTERLEAVE));
      EXPECT_EQ(mask[0], 1ul);
    }
  } else {
    EXPECT_EQ(done.error().kind, ErrorKind::runtime);
    EXPECT_THAT(done.error().message, HasSubstr("mbind: "));
  }
  // Whatever the answer was, the memory is there.
  for (size_t at = 0; at < bytes; at += page) static_cast<char*>(memory)[at] = 1;
  ::munmap(memory, bytes);
}

TEST(InterleavePages, ANodeThatIsNotThereIsRefused) {
  const auto page = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
  void* const memory =
      ::mmap(nullptr, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(memory, MAP_FAILED);
  EXPECT_FALSE(interleave_pages(memory, page, std::vector<int>{900}).ok());
  ::munmap(memory, page);
}

TEST(MemorySpread, OfThisMachineIsOverItsNodesOrSaysWhyNot) {
  const MemorySpread& spread = memory_spread();
  EXPECT_EQ(spread.nodes.empty(), !spread.why_not.empty());
  if (!spread.nodes.empty()) {
    EXPECT_EQ(spread.nodes, cpu_topology().memory_nodes);
  }
  if (cpu_topology().memory_nodes.size() < 2) {
    EXPECT_EQ(spread.why_not, "one node");
  }
  spread_pages(nullptr, 0);  // advice: whatever the system makes of it
}

}  // namespace
}  // namespace dunlin
