// Any bytes as a GGUF file: an error, or a checkpoint whose every weight can be read and decoded.
// Run: gguf_fuzz -max_total_time=60 tests/fuzz/corpus/gguf
#include <cstdlib>

#include "checkpoint/gguf_checkpoint.h"
#include "fuzz_weights.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto* begin = reinterpret_cast<const std::byte*>(data);
  const auto checkpoint = dunlin::open_gguf(
      dunlin::memory_source(std::vector<std::byte>(begin, begin + size), "fuzz.gguf"));
  if (!checkpoint.ok()) {
    if (checkpoint.error().kind != dunlin::ErrorKind::model || checkpoint.error().message.empty())
      std::abort();
    return 0;
  }
  dunlin::read_every_weight(**checkpoint);
  return 0;
}
