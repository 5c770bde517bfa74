// What llama-quantize calls a type: the format of most matrices, and which of them get another.
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
};

std::span<const QuantizeType> quantize_types();
// In any case of letters; null for a name that is none.
const QuantizeType* find_quantize_type(std::string_view name);

}  // namespace dunlin
