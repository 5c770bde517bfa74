// Any text as config.json, and after a zero byte as generation_config.json: an error, or a
// configuration whose required keys are in range. Run: config_fuzz -max_total_time=60
// tests/fuzz/corpus/config
#include <cstdlib>

#include "checkpoint/hf_config.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  const size_t zero = text.find('\0');
  std::optional<dunlin::ConfigText> generation;
  if (zero != std::string::npos) {
    generation = dunlin::ConfigText{"generation_config.json", text.substr(zero + 1)};
  }
  const auto config = dunlin::read_hf_config({"config.json", text.substr(0, zero)}, generation);
  if (!config.ok()) {
    if (config.error().kind != dunlin::ErrorKind::model || config.error().message.empty())
      std::abort();
    return 0;
  }
  for (const char* key :
       {"hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
        "num_key_value_heads", "head_dim", "vocab_size", "max_position_embeddings"}) {
    if (!config->integer(key, 1, 1 << 30).ok()) std::abort();
  }
  if (!config->number("rms_norm_eps", 0, 1).ok() || !config->number("rope_theta", 1, 1e12).ok())
    std::abort();
  return 0;
}
