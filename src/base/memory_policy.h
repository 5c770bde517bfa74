// On which NUMA nodes large blocks of memory lie. Linux gives a page to the node of the thread that
// touches it first. Weights, KV pages and activations are read by all threads, which are not pinned and
// steal work from each other, so with several nodes their pages are interleaved: each memory controller
// gives its share of every read, whoever reads.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "base/cpu_topology.h"
#include "base/result.h"

namespace dunlin {

struct MemorySpread {
  std::vector<int> nodes = {};  // that pages are interleaved over; empty: they are not
  std::string why_not = {};     // in words; empty where they are
};

// How this process places what spread_pages() is given, found once: over memory_nodes of the topology,
// where these are several, nobody gave the process a policy of its own (numactl), and the system lets
// it choose.
const MemorySpread& memory_spread();

// Asks that the pages of the mapping, none of which was touched, lie as memory_spread() says. Advice:
// nothing depends on whether it is followed.
void spread_pages(void* begin, size_t bytes);

// What memory_spread() makes of a topology. `own_policy`: whether the process has a policy of its own.
MemorySpread choose_spread(const CpuTopology& topology, bool own_policy);

// mbind(2) with MPOL_INTERLEAVE, without a library. `begin` is page-aligned. Errors (kind runtime): what the
// system says, as in a container that forbids the call.
Result<void> interleave_pages(void* begin, size_t bytes, std::span<const int> nodes);

// The bits of the nodes, as the system takes them.
std::vector<unsigned long> node_mask(std::span<const int> nodes);

}  // namespace dunlin
