// A model of one layer in both containers, and how tests open and compare them. Every element of
// the model is a different number, so that a wrong row is seen.
#pragma once

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <chrono>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "base/byte_source.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/gguf_checkpoint.h"
#include "gguf_builder.h"

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
  traits(view->format).decode(bytes.data(), view->rows * view->columns, values.data());
  return values;
}

inline int64_t peak_kilobytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss;
}

// Runs `attempt`, which must fail as a model error that names `origin` and `problem`, within 64 MB
// and within seconds: what is quadratic in the largest file takes minutes.
template <typename Attempt>
void expect_model_error(Attempt attempt, const std::string& origin, const std::string& problem) {
  const int64_t memory = peak_kilobytes();
  const auto start = std::chrono::steady_clock::now();
  const auto result = attempt();
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  ASSERT_FALSE(result.ok()) << "expected: " << problem;
  EXPECT_EQ(result.error().kind, ErrorKind::model);
  EXPECT_NE(result.error().message.find(origin), std::string::npos) << result.error().message;
  EXPECT_NE(result.error().message.find(problem), std::string::npos) << result.error().message;
  EXPECT_LT(seconds.count(), 30.0);
  EXPECT_LT(peak_kilobytes() - memory, 64 << 10);
}

}  // namespace dunlin
