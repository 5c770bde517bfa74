// Any bytes as a safetensors file: an error, or tensors that cover the data exactly, and that the
// checkpoints they make with two fixed configurations can read. Run: safetensors_fuzz
// -max_total_time=60 tests/fuzz/corpus/safetensors
#include <cstdlib>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "base/log.h"
#include "checkpoint/hf_config.h"
#include "checkpoint/safetensors_reader.h"
#include "checkpoint/scale_tensors.h"
#include "checkpoint/stored_checkpoint.h"
#include "fuzz_weights.h"

namespace {

// The shapes of the seeds in the corpus.
constexpr const char* kConfigs[] = {
    R"({"model_type": "llama", "hidden_size": 8, "intermediate_size": 10,
  "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1,
  "head_dim": 6, "vocab_size": 12,
  "max_position_embeddings": 128})",
    R"({"model_type": "gpt_oss", "hidden_size": 32, "intermediate_size": 32,
  "num_hidden_layers": 1, "num_attention_heads": 1, "num_key_value_heads": 1,
  "head_dim": 2, "vocab_size": 2, "num_local_experts": 2, "num_experts_per_tok": 1,
  "max_position_embeddings": 128})"};

// Scales for rows, for blocks with ragged edges, or none, as the size says.
std::optional<dunlin::QuantizationConfig> quantization(size_t size) {
  if (size % 4 == 0) return std::nullopt;
  dunlin::QuantizationConfig config{.method = "fp8", .scale_name = "weight_scale"};
  config.integer = size % 4 == 1;
  if (size % 4 == 2) config.block_rows = config.block_columns = 5;
  return config;
}

const std::vector<dunlin::Metadata>& configs() {
  static const std::vector<dunlin::Metadata> all = [] {
    std::vector<dunlin::Metadata> list;
    for (const char* text : kConfigs)
      list.push_back(dunlin::read_hf_config({"config.json", text}, std::nullopt).value());
    return list;
  }();
  return all;
}

void open_as(const dunlin::Metadata& config, const std::vector<dunlin::TensorInfo>& tensors,
             const std::shared_ptr<const dunlin::ByteSource>& source, size_t size) {
  dunlin::CheckpointParts parts{.path = "fuzz", .container = "safetensors", .config = config};
  parts.tensors = tensors;
  parts.sources.assign(tensors.size(), source);
  auto scales = dunlin::find_scale_tensors(quantization(size), parts.tensors, parts.sources);
  if (!scales.ok()) {
    if (scales.error().kind != dunlin::ErrorKind::model || scales.error().message.empty())
      std::abort();
    return;
  }
  parts.scales = std::move(*scales);
  const auto checkpoint = dunlin::make_checkpoint(std::move(parts));
  if (checkpoint.ok()) dunlin::read_every_weight(**checkpoint);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  dunlin::set_warning_sink([](const std::string&) {});
  const auto* begin = reinterpret_cast<const std::byte*>(data);
  const auto source =
      dunlin::memory_source(std::vector<std::byte>(begin, begin + size), "fuzz.safetensors");
  auto tensors = dunlin::read_safetensors_header(*source);
  if (!tensors.ok()) {
    if (tensors.error().kind != dunlin::ErrorKind::model || tensors.error().message.empty())
      std::abort();
    return 0;
  }
  uint64_t next = tensors->empty() ? size : tensors->front().offset;
  for (const dunlin::TensorInfo& tensor : *tensors) {
    if (tensor.offset != next) std::abort();
    next += tensor.bytes;
  }
  if (next != size) std::abort();
  for (const dunlin::Metadata& config : configs()) open_as(config, *tensors, source, size);
  return 0;
}
