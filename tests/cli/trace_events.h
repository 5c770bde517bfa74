// The events of a trace in Chrome's format, and whether those of each thread nest.
#pragma once

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

namespace dunlin {

// Complete events ("ph": "X") of a category; "" of all.
inline std::vector<nlohmann::json> complete_events(const nlohmann::json& trace,
                                                   const std::string& category) {
  std::vector<nlohmann::json> events;
  for (const nlohmann::json& event : trace["traceEvents"]) {
    if (event["ph"] == "X" && (category.empty() || event["cat"] == category))
      events.push_back(event);
  }
  return events;
}

// The name of an event that begins within another one of its thread and ends behind it; "" where all
// nest. Times of a thread are exact to a nanosecond, a thousandth.
inline std::string misnested(const nlohmann::json& trace) {
  struct Interval {
    double begin, end;
    std::string name;
  };
  std::map<std::pair<int, int>, std::vector<Interval>> threads;
  for (const nlohmann::json& event : complete_events(trace, "")) {
    const double begin = event["ts"];
    const double length = event["dur"];
    threads[{event["pid"].get<int>(), event["tid"].get<int>()}].push_back(
        {begin, begin + length, event["name"].get<std::string>()});
  }
  constexpr double kRounding = 0.0005;
  for (auto& [thread, intervals] : threads) {
    std::ranges::sort(intervals, [](const Interval& a, const Interval& b) {
      return a.begin != b.begin ? a.begin < b.begin : a.end > b.end;
    });
    std::vector<Interval> open;
    for (const Interval& each : intervals) {
      while (!open.empty() && open.back().end <= each.begin + kRounding) open.pop_back();
      if (!open.empty() && each.end > open.back().end + kRounding) return each.name;
      open.push_back(each);
    }
  }
  return "";
}

}  // namespace dunlin
