// Checkpoint: a model on disk (a Hugging Face directory, a GGUF file or a prepared directory) as
// canonical configuration and named weights.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/metadata.h"
#include "base/result.h"
#include "formats/prepared_weights.h"
#include "formats/weight_view.h"

namespace dunlin {

// One tensor as the file lists it.
struct TensorInfo {
  std::string name;            // as stored
  std::string canonical_name;  // Hugging Face name; empty for a tensor no model reads
  std::vector<int64_t> shape;  // outermost first ([out, in] for a linear weight)
  Format format = Format::f32;
  uint64_t bytes = 0;
  std::string file;
  uint64_t offset = 0;  // of the data, from the start of `file`
};

class Checkpoint {
 public:
  virtual ~Checkpoint() = default;

  virtual const std::string& path() const = 0;  // the .gguf file, or the directory
  virtual const char* container() const = 0;    // "gguf", "safetensors" or "prepared"

  // Canonical keys, Hugging Face names with dots for nesting, the same for both containers:
  //   model_type (families.cpp), hidden_size, intermediate_size, num_hidden_layers,
  //   num_attention_heads, num_key_value_heads, head_dim, vocab_size, rms_norm_eps, rope_theta,
  //   max_position_embeddings, tie_word_embeddings, attention_bias, mlp_bias, hidden_act,
  //   rope_scaling.{rope_type, factor, low_freq_factor, high_freq_factor,
  //   original_max_position_embeddings}, rope_freq_divisors (GGUF's rope_freqs.weight, [head_dim /
  //   2]), bos_token_id, eos_token_id (always a list: the union of config.json and
  //   generation_config.json, or the GGUF's eos/eot/eom ids), generation.{temperature, top_p,
  //   top_k, min_p, repetition_penalty, do_sample}. Of masked diffusion models also mask_token_id,
  //   pad_token_id and diffusion.shift_logits.
  virtual const Metadata& config() const = 0;

  // The GGUF header's own keys (tokenizer.ggml.*, general.*), also in a directory prepared from a
  // GGUF file; otherwise empty, and the text side lies in the directory.
  virtual const Metadata& header() const = 0;

  virtual const std::vector<TensorInfo>& tensors() const = 0;
  // Where the bytes of tensors()[tensor] lie, at its offset.
  virtual std::shared_ptr<const ByteSource> source(size_t tensor) const = 0;

  virtual bool has_weight(const std::string& canonical_name) const = 0;
  // The weight under its canonical name with its canonical shape; an error names the file and the
  // tensor. A tied lm_head is not aliased here: models declare the embedding instead.
  virtual Result<WeightView> weight(const std::string& canonical_name) const = 0;

  // The weights of a prepared directory, of which weight() tells format and shape only; else null.
  virtual std::shared_ptr<const PreparedWeights> prepared() const { return nullptr; }
};

// The canonical configuration of a Hugging Face directory, whether or not weights lie in it, or of a
// single file in the form of config.json.
Result<Metadata> read_model_config(const std::string& path);

// A directory with config.json and safetensors, a prepared directory, a .gguf file, or a path to config.json or
// model.safetensors(.index.json) inside such a directory. Reads headers only. What a conversion that
// was ended has left is an error.
Result<std::unique_ptr<Checkpoint>> open_checkpoint(const std::string& path);

}  // namespace dunlin
