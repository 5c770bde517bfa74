// What llama-quantize calls a type: the format of most matrices, and which of them get another; and
// the types of Hugging Face directories.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "formats/format.h"

namespace dunlin {

// Which matrices get more bits than the others.
enum class Mix { none, q2_k, q3_k_m, q3_k_l, q4_k_s, q4_k_m, q5_k_m };

struct QuantizeType {
  const char* name;
  const char* alias;             // another name of it, or null
  std::optional<Format> format;  // of most matrices; nothing: each keeps its own
  Mix mix;
  uint32_t file_type;  // general.file_type: llama.h, enum llama_ftype; of no use without a format
  int64_t scale_block = 0;  // rows and columns that share a scale; 0: a scale per row

  // Of a Hugging Face directory: GGUF has no form for scales that lie beside the elements.
  bool is_scaled() const { return format && traits(*format).largest > 0.0f; }
};

std::span<const QuantizeType> quantize_types();
// In any case of letters; null for a name that is none.
const QuantizeType* find_quantize_type(std::string_view name);

}  // namespace dunlin
