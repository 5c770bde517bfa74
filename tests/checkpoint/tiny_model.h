// A model of one layer in both containers, and how tests open and compare them. Every element of
// the model is a different number, so that a wrong row is seen.
#pragma once

#include <cstring>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

#include "base/byte_source.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/gguf_checkpoint.h"
#include "gguf_builder.h"
#include "support/expect_model_error.h"

namespace dunlin {

constexpr int64_t kHidden = 8;
constexpr int64_t kHeads = 2;
constexpr int64_t kHeadDim = 6;  // heads * head_dim differs from hidden
constexpr int64_t kIntermediate = 10;
constexpr int64_t kVocabulary = 12;

struct TinyTensor {
  std::vector<int64_t> shape;
  std::vector<float> values;
};

// Canonical names and values; the biases of query, key, value and output on request.
std::map<std::string, TinyTensor> tiny_tensors(bool biases, bool tied);

// The same model as a GGUF file of an architecture, query and key permuted for llama.
GgufBuilder tiny_gguf(const std::string& architecture = "llama", bool biases = false,
                      bool tied = false);

// The same model as config.json and safetensors.
std::string tiny_config(const std::string& model_type = "llama", bool biases = false,
                        bool tied = false);
std::string safetensors_file(const std::map<std::string, TinyTensor>& tensors);
std::string safetensors_file(const std::string& header, const std::string& data);

inline std::shared_ptr<const ByteSource> source_of(const std::string& bytes,
                                                   const std::string& label) {
  const auto* begin = reinterpret_cast<const std::byte*>(bytes.data());
  return memory_source(std::vector<std::byte>(begin, begin + bytes.size()), label);
}

inline Result<std::unique_ptr<Checkpoint>> open_gguf_bytes(const std::string& bytes) {
  return open_gguf(source_of(bytes, "tiny.gguf"));
}

// A weight as float32, in canonical order.
inline std::vector<float> weight_values(const Checkpoint& checkpoint, const std::string& name) {
  const auto view = checkpoint.weight(name);
  if (!view.ok()) throw std::runtime_error(view.error().message);
  std::vector<std::byte> bytes(static_cast<size_t>(view->rows * view->bytes_per_row()));
  if (const auto read = view->read_rows(0, view->rows, bytes); !read.ok()) {
    throw std::runtime_error(read.error().message);
  }
  std::vector<float> values(static_cast<size_t>(view->rows * view->columns));
  view->row_form().decode(bytes.data(), view->rows, values.data());
  return values;
}

}  // namespace dunlin
