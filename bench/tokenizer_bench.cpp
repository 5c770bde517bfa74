// Times Tokenizer::encode for bench/compare_tokenizers: reads a tokenizer.json and a text, prints how long
// loading took, then encodes the text once for each line of its input. Output, a line each, in
// nanoseconds: "load TIME", then "encode TIME IDS FNV1A" with the number of ids and the 64-bit FNV-1a of
// their little-endian bytes, by which the ids of two programs are compared.
#include <chrono>
#include <iostream>
#include <string>

#include "base/byte_source.h"
#include "tokenizer/tokenizer.h"

namespace {

using Clock = std::chrono::steady_clock;

int64_t nanoseconds_since(Clock::time_point start) {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now() - start).count();
}

uint64_t fnv1a(const std::vector<int32_t>& ids) {
  uint64_t hash = 0xCBF29CE484222325u;
  for (const int32_t id : ids) {
    for (int shift = 0; shift < 32; shift += 8)
      hash = (hash ^ (static_cast<uint32_t>(id) >> shift & 0xFF)) * 0x100000001B3u;
  }
  return hash;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::cerr << "usage: tokenizer_bench TOKENIZER.json TEXT\n";
    return 2;
  }
  const auto text = dunlin::read_text_file(argv[2], uint64_t{1} << 30);
  const auto start = Clock::now();
  const auto tokenizer = dunlin::Tokenizer::from_json_file(argv[1]);
  const int64_t load = nanoseconds_since(start);
  if (!text.ok() || !tokenizer.ok()) {
    std::cerr << (text.ok() ? tokenizer.error() : text.error()).message << '\n';
    return 3;
  }
  std::cout << "load " << load << std::endl;
  for (std::string line; std::getline(std::cin, line);) {
    const auto begin = Clock::now();
    const auto ids = (*tokenizer)->encode(*text, false);
    const int64_t time = nanoseconds_since(begin);
    if (!ids.ok()) {
      std::cerr << ids.error().message << '\n';
      return 1;
    }
    std::cout << "encode " << time << ' ' << ids->size() << ' ' << fnv1a(*ids) << std::endl;
  }
  return 0;
}
