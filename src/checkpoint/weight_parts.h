// Tensors that hold a weight under another name, several weights, or one in another order: the experts
// of a mixture in either container, and all of what OpenAI published as gpt-oss's `original/`.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/metadata.h"
#include "base/result.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/families.h"
#include "checkpoint/strided_source.h"
#include "formats/weight_view.h"

namespace dunlin {

struct WeightPart {
  std::string name;            // canonical
  std::vector<int64_t> shape;  // canonical, outermost first
  // Of its bytes in the tensor, or of the rows that its row_map is about, which other parts have too;
  // none: the tensor has them as they are.
  std::optional<StridedLayout> layout = {};
  RowMap row_map = {};  // of matrices whose rows lie in turn with those of another part
};

// The weights in a stored tensor that has another name or order than they; none for every other
// tensor. A tensor that has not the shape that the configuration gives it, or is in a format whose
// elements or scales cannot be put in order, is an error that names it and its file.
//
//   safetensors  mlp.experts.gate_up_proj_blocks [E, 2F, D], rows 2j and 2j + 1 are gate and up j
//                mlp.experts.gate_up_proj [E, D, 2F], columns likewise; gate_up_proj_bias [E, 2F]
//                mlp.experts.down_proj_blocks [E, D, F], down_proj [E, F, D], down_proj_bias [E, D]
//   original/    block.N.mlp.mlp1_weight.blocks, mlp1_bias, mlp2_weight.blocks, mlp2_bias: the same;
//                block.N.attn.qkv [(H + 2 K) h, D], rows of q, then k, then v
//   GGUF         ffn_gate_up_exps.weight [E, 2F, D] and .bias [E, 2F], first all of gate
//   ollama's     attn_sinks, attn_out, ffn_norm; attn_qkv as in original/; ffn_gate_up_exps with gate
//                and up in turn; else as GGUF (ollama, convert/convert_gptoss.go)
Result<std::vector<WeightPart>> weight_parts(const StoredFamily& family, bool gguf_names,
                                             const TensorInfo& tensor, const Metadata& config);

// How files with these tensors would call the one that holds a canonical weight, for messages.
std::string name_in_files(const StoredFamily& family, bool gguf_names, const Metadata& config,
                          std::span<const TensorInfo> tensors, const std::string& canonical_name);

}  // namespace dunlin
