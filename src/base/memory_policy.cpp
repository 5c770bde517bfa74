#include "base/memory_policy.h"

#include <linux/mempolicy.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstring>
#include <utility>

namespace dunlin {
namespace {

constexpr size_t kWordBits = sizeof(unsigned long) * CHAR_BIT;

// That of the calling thread, which a program inherits from who started it.
bool has_own_policy() {
  int mode = MPOL_DEFAULT;
  const long result = ::syscall(SYS_get_mempolicy, &mode, nullptr, 0ul, nullptr, 0ul);
  return result == 0 && mode != MPOL_DEFAULT;
}

// On one page, before every large block is tried in vain.
Result<void> try_interleaving(std::span<const int> nodes) {
  const auto bytes = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
  void* const page =
      ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED) return runtime_error(std::strerror(errno));
  const auto done = interleave_pages(page, bytes, nodes);
  ::munmap(page, bytes);
  return done;
}

MemorySpread no_spread(std::string why_not) {
  MemorySpread spread;
  spread.why_not = std::move(why_not);
  return spread;
}

MemorySpread find_spread() {
  MemorySpread spread = choose_spread(cpu_topology(), has_own_policy());
  if (spread.nodes.empty()) return spread;
  const auto tried = try_interleaving(spread.nodes);
  return tried.ok() ? spread : no_spread(tried.error().message);
}

}  // namespace

std::vector<unsigned long> node_mask(std::span<const int> nodes) {
  std::vector<unsigned long> mask;
  for (const int node : nodes) {
    const auto bit = static_cast<size_t>(node);
    if (mask.size() <= bit / kWordBits) mask.resize(bit / kWordBits + 1);
    mask[bit / kWordBits] |= 1ul << (bit % kWordBits);
  }
  return mask;
}

Result<void> interleave_pages(void* begin, size_t bytes, std::span<const int> nodes) {
  const std::vector<unsigned long> mask = node_mask(nodes);
  // Linux takes one bit less than it is told of (mm/mempolicy.c, get_nodes).
  const unsigned long bits = mask.size() * kWordBits + 1;
  constexpr unsigned long kMode = MPOL_INTERLEAVE;
  if (::syscall(SYS_mbind, begin, bytes, kMode, mask.data(), bits, 0ul) == 0) return {};
  return runtime_error(std::string("mbind: ") + std::strerror(errno));
}

MemorySpread choose_spread(const CpuTopology& topology, bool own_policy) {
  if (topology.memory_nodes.size() < 2) return no_spread("one node");
  if (own_policy) return no_spread("the process was given a policy of its own");
  MemorySpread spread;
  spread.nodes = topology.memory_nodes;
  return spread;
}

const MemorySpread& memory_spread() {
  static const MemorySpread spread = find_spread();
  return spread;
}

void spread_pages(void* begin, size_t bytes) {
  const std::vector<int>& nodes = memory_spread().nodes;
  if (!nodes.empty()) (void)interleave_pages(begin, bytes, nodes);
}

}  // namespace dunlin
