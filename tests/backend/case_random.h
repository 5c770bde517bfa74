// Random numbers that are the same on every machine: SplitMix64 (Steele, Lea, Flood, "Fast
// splittable pseudorandom number generators", 2014).
#pragma once

#include <cstdint>
#include <string>

namespace dunlin {

class CaseRandom {
 public:
  explicit CaseRandom(uint64_t seed) : state_(seed) {}
  explicit CaseRandom(const std::string& name) {
    for (const char letter : name) {
      state_ = (state_ ^ static_cast<unsigned char>(letter)) * 0x100000001b3u + 0x9e3779b9u;
    }
  }

  uint64_t bits() {
    state_ += 0x9e3779b97f4a7c15u;
    uint64_t z = state_;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }
  float unit() { return static_cast<float>(bits() >> 40) * 0x1p-24f; }  // [0, 1)
  float centered() { return 2.0f * unit() - 1.0f; }                     // [-1, 1)
  int64_t below(int64_t end) { return static_cast<int64_t>(bits() % static_cast<uint64_t>(end)); }

 private:
  uint64_t state_ = 0;
};

}  // namespace dunlin
