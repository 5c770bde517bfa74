// How long a step takes at best and in practice, and what holds it back.
//
//   best:      max( sum over operations of max(flops / peak, bytes / bandwidth),  sent / link )
//   expected:  sum over operations of max(flops / (peak e_c), bytes / (bandwidth e_m))
//              + sum over collectives of max(sent / (link e_i), hops * latency)
//
// On a processor with measured rates (planner/cpu_rates.h) the expected time of an operation is
//   a matrix:   max(flops / rate of its format and rows, bytes / (stream * fraction of its format))
//               + elements of its rows * their time + a step's own time
//   attention:  max(flops / rate + scores * their time in prompts,
//                   bytes / (stream * fraction) + scores of one row * their time)  + a step's own time
//   a norm:     a step's own time
// The stream is what memory gives at as many bytes as the step reads, so a model that caches hold is read
// faster. The time of elements is what narrow matrices pay for: the narrower, the more of them to a
// multiplication. The peak of such a processor is the fastest rate of a format.
//
// The best overlaps all communication with computation, what is expected none of it. The three e are
// the device's Efficiency. A pipeline of n stages works on n parts of the batch, so a token passes n
// times the slowest stage.
#pragma once

#include <vector>

#include "planner/device.h"
#include "planner/walk.h"

namespace dunlin {

enum class Bound : uint8_t { compute, memory, interconnect, disk };
const char* bound_name(Bound bound);

struct StepTime {
  // At the peaks, each as if the others took no time.
  double compute_seconds = 0;
  double memory_seconds = 0;
  double interconnect_seconds = 0;
  double best_seconds = 0;
  double expected_seconds = 0;
  Bound bound = Bound::memory;  // the longest of the three, and of disk_seconds

  // Of one device in the step; with stages, of the slowest stage times their number (bytes sent: of
  // the stage that sends most).
  double flops = 0;
  double weight_bytes = 0;
  double expert_bytes = 0;  // of weight_bytes, those of the experts that rows choose
  double kv_bytes = 0;
  double sent_bytes = 0;
  // Of weights that memory does not hold (planner/paging.h): read from disk at the least, and the time of
  // that, 0 where the speed of the disk is not known.
  double disk_bytes = 0;
  double disk_seconds = 0;

  // Bytes read per second over the bandwidth, at the expected time.
  double memory_utilisation(const Device& device) const;
  double weights_only_utilisation(const Device& device) const;
  double compute_utilisation(const Device& device) const;
};

StepTime step_time(const std::vector<NodeCost>& costs, const ShardedModel& sharded,
                   const Device& device, RowClass row_class);

// Seconds of one collective at `share` of the link speed; the latency of its hops at least.
double collective_seconds(const Collective& collective, const Interconnect& interconnect,
                          double share = 1);

}  // namespace dunlin
