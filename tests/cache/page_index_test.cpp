// PageIndex against std::map, with keys that collide.
#include "cache/page_index.h"

#include <gtest/gtest.h>

#include <map>
#include <random>

namespace dunlin {
namespace {

TEST(PageIndex, AgreesWithAMapUnderCollisions) {
  constexpr int32_t kPages = 24;
  for (const uint64_t homes : {1u, 3u, 1000u}) {
    PageIndex index(kPages);
    std::map<uint64_t, int32_t> wanted;
    std::mt19937 random(5);
    for (int step = 0; step < 20000; ++step) {
      const uint64_t number = random() % 60;
      // 63 is the last home of the table: chains wrap around its end.
      const PageKey key = {.high = number, .low = 63 - number % homes};
      if (random() % 2 == 0 && wanted.size() < kPages) {
        const auto page = static_cast<int32_t>(random() % kPages);
        EXPECT_EQ(index.add(key, page), wanted.emplace(number, page).second);
      } else if (wanted.contains(number)) {
        index.remove(key);
        wanted.erase(number);
      }
      for (uint64_t other = 0; other < 60; ++other) {
        const auto it = wanted.find(other);
        const auto found = index.find({.high = other, .low = 63 - other % homes});
        ASSERT_EQ(found.value_or(-1), it == wanted.end() ? -1 : it->second);
      }
    }
  }
}

}  // namespace
}  // namespace dunlin
