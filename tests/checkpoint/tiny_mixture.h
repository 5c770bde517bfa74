// A mixture of experts of one layer, as its containers store it, and how tests open it.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/byte_source.h"
#include "base/result.h"
#include "checkpoint/checkpoint.h"
#include "gguf_builder.h"
#include "tiny_model.h"

namespace dunlin {

constexpr int64_t kExperts = 3;
constexpr int64_t kWidth = 64;  // D
constexpr int64_t kFfn = 32;    // F

constexpr const char* kLayer = "model.layers.0.";
inline const std::string kStacks = std::string(kLayer) + "mlp.experts.";

struct Stored {
  std::string dtype;  // of safetensors
  std::vector<int64_t> shape;
  std::string bytes;
};
using Tensors = std::map<std::string, Stored>;

// 1, 2, 3, .. from `first` on.
Stored counted(std::vector<int64_t> shape, float first);
// Element i of counted(.., first).
float element(float first, int64_t i);
// Bytes that differ from each other; `modulo` keeps exponents small.
Stored counted_bytes(std::vector<int64_t> shape, int first, int modulo);

// The experts' matrices unquantised, and in pairs of blocks and scales.
Tensors plain_tensors();
Tensors mxfp4_tensors();
// The same model under OpenAI's names.
Tensors original_tensors(Tensors tensors);

std::string mixture_config();  // config.json
std::string file_of(const Tensors& tensors);

Result<std::unique_ptr<Checkpoint>> open_mixture(const std::shared_ptr<const ByteSource>& source,
                                                 const std::string& config_text);
// As model.safetensors.
Result<std::unique_ptr<Checkpoint>> open_mixture(const Tensors& tensors,
                                                 const std::string& config_text = mixture_config());
std::unique_ptr<Checkpoint> opened_mixture(const Tensors& tensors);  // throws

// That `weight` cannot be had, and that the message calls it `stored`.
void expect_missing(const Result<std::unique_ptr<Checkpoint>>& checkpoint,
                    const std::string& weight, const std::string& stored);

// The keys of a GGUF file of llama.cpp.
GgufBuilder mixture_gguf_header();
void add_tensor(GgufBuilder& builder, const std::string& name, const Stored& tensor);

}  // namespace dunlin
