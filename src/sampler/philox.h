// Philox4x32-10: a counter-based random generator; the same key and counter give the same number on
// every machine. Source: Salmon, Moraes, Dror, Shaw, "Parallel Random Numbers: As Easy as 1, 2, 3"
// (SC 2011).
#pragma once

#include <array>
#include <cstdint>

namespace dunlin {

using PhiloxBlock = std::array<uint32_t, 4>;

inline PhiloxBlock philox(std::array<uint32_t, 2> key, PhiloxBlock counter) {
  constexpr uint64_t kMultiply0 = 0xD2511F53u;
  constexpr uint64_t kMultiply1 = 0xCD9E8D57u;
  for (int round = 0; round < 10; ++round) {
    const uint64_t product0 = kMultiply0 * counter[0];
    const uint64_t product1 = kMultiply1 * counter[2];
    counter = {static_cast<uint32_t>(product1 >> 32) ^ counter[1] ^ key[0],
               static_cast<uint32_t>(product1),
               static_cast<uint32_t>(product0 >> 32) ^ counter[3] ^ key[1],
               static_cast<uint32_t>(product0)};
    key[0] += 0x9E3779B9u;
    key[1] += 0xBB67AE85u;
  }
  return counter;
}

// What a random number is for; numbers of different purposes at one position are independent.
enum class RandomPurpose : uint32_t {
  token = 0,
  unmask = 1,          // of diffusion: whether a masked position is decided in a step
  choose_position = 2  // of diffusion: which masked position is decided next
};

// Uniform in [0, 1) with 24 bits, for the token at `position` of choice number `choice` of a
// request.
inline float uniform(uint64_t seed, uint32_t choice, uint64_t position, RandomPurpose purpose) {
  // The 64-bit seed is the key; choice, position and purpose are the counter, so that each has all
  // its bits.
  const std::array<uint32_t, 2> key = {static_cast<uint32_t>(seed),
                                       static_cast<uint32_t>(seed >> 32)};
  const PhiloxBlock block =
      philox(key, {static_cast<uint32_t>(position), static_cast<uint32_t>(position >> 32),
                   static_cast<uint32_t>(purpose), choice});
  return static_cast<float>(block[0] >> 8) * 0x1p-24f;
}

}  // namespace dunlin
