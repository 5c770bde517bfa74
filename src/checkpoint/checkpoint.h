// Checkpoint: a model on disk (a Hugging Face directory, a GGUF file or a prepared directory) as
// canonical configuration and named weights.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/metadata.h"
#include "base/result.h"
#include "formats/prepared_weights.h"
#include "formats/weight_view.h"

namespace dunlin {

class PreparedFiles;

// Bytes of a file.
struct StoredBytes {
  std::string name;  // of the tensor they are
  std::string file;
  uint64_t offset = 0;
  uint64_t bytes = 0;
};

// One tensor as the file lists it.
struct TensorInfo {
  std::string name;            // as stored
  std::string canonical_name;  // of the weight it is; empty for a tensor that no model reads and
                               // for one whose parts are weights
  std::vector<int64_t> shape;  // outermost first ([out, in] for a linear weight)
  Format format = Format::f32;
  uint64_t bytes = 0;
  std::string file;
  uint64_t offset = 0;  // of the data, from the start of `file`
  bool raw = false;     // bytes (U8 of safetensors) that are no numbers by themselves; no `format`
  // > 0: each row begins with its scales, one for so many columns (formats/row_form.h).
  int64_t scale_columns = 0;
  // Of MXFP4 in safetensors, where exponents are a tensor of their own: `bytes` counts them, and what
  // is at `offset` are the codes.
  std::optional<StoredBytes> exponents = {};
  bool neighbours = false;  // MXFP4 in whose file, not source, a byte has two neighbours
};

// A weight that a model may read.
struct WeightInfo {
  std::string name;            // canonical: Hugging Face's, but for the experts of a mixture, which
                               // are stacks of gate, up and down projections
  std::vector<int64_t> shape;  // outermost first: [out, in], [experts, out, in]
  Format format = Format::f32;
  size_t tensor = 0;  // in tensors(): where it, or it among others, is stored
};

class Checkpoint {
 public:
  virtual ~Checkpoint() = default;

  virtual const std::string& path() const = 0;  // the .gguf file, or the directory
  virtual const char* container() const = 0;    // "gguf", "safetensors" or "prepared"

  // Canonical keys, Hugging Face names with dots for nesting, the same for both containers:
  //   model_type (families.cpp), those of config_fields.cpp, tie_word_embeddings, attention_bias,
  //   mlp_bias, hidden_act, layer_types (a list of names), quantization_config.quant_method (mxfp4, of
  //   config.json), rope_scaling.{rope_type, factor,
  //   low_freq_factor, high_freq_factor, beta_fast, beta_slow, truncate, attention_factor,
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

  // In the order of the tensors.
  virtual const std::vector<WeightInfo>& weights() const = 0;
  virtual bool has_weight(const std::string& canonical_name) const = 0;
  // The weight under its canonical name with its canonical shape; an error names the file and the
  // tensor. A tied lm_head is not aliased here: models declare the embedding instead.
  virtual Result<WeightView> weight(const std::string& canonical_name) const = 0;

  // The packed weights of a prepared directory, of which weight() tells format and shape only; else
  // null.
  virtual std::shared_ptr<const PreparedWeights> prepared() const { return nullptr; }
  // The files of any prepared directory (checkpoint/prepared_files.h); else null.
  virtual std::shared_ptr<const PreparedFiles> prepared_files() const { return nullptr; }
};

// The canonical configuration of a Hugging Face directory, whether or not weights lie in it, or of a
// single file in the form of config.json.
Result<Metadata> read_model_config(const std::string& path);

// A directory with config.json and safetensors, a prepared directory, a .gguf file, or a path to config.json or
// model.safetensors(.index.json) inside such a directory. Reads headers only. What a conversion that
// was ended has left is an error.
Result<std::unique_ptr<Checkpoint>> open_checkpoint(const std::string& path);

}  // namespace dunlin
