#include "convert/quantize_type.h"

#include <algorithm>

#include "base/ascii.h"

namespace dunlin {
namespace {

constexpr QuantizeType kTypes[] = {
    {"Q4_K_M", "Q4_K", Format::q4_k, Mix::q4_k_m, 15},
    {"Q4_K_S", nullptr, Format::q4_k, Mix::q4_k_s, 14},
    {"Q5_K_M", "Q5_K", Format::q5_k, Mix::q5_k_m, 17},
    {"Q5_K_S", nullptr, Format::q5_k, Mix::none, 16},
    {"Q6_K", nullptr, Format::q6_k, Mix::none, 18},
    {"Q8_0", nullptr, Format::q8_0, Mix::none, 7},
    {"Q3_K_S", nullptr, Format::q3_k, Mix::none, 11},
    {"Q3_K_M", "Q3_K", Format::q3_k, Mix::q3_k_m, 12},
    {"Q3_K_L", nullptr, Format::q3_k, Mix::q3_k_l, 13},
    {"Q2_K", nullptr, Format::q2_k, Mix::q2_k, 10},
    {"Q4_0", nullptr, Format::q4_0, Mix::none, 2},
    {"Q4_1", nullptr, Format::q4_1, Mix::none, 3},
    {"Q5_0", nullptr, Format::q5_0, Mix::none, 8},
    {"Q5_1", nullptr, Format::q5_1, Mix::none, 9},
    {"MXFP4", nullptr, Format::mxfp4, Mix::none, 38},
    {"F16", nullptr, Format::f16, Mix::none, 1},
    {"BF16", nullptr, Format::bf16, Mix::none, 32},
    {"F32", nullptr, Format::f32, Mix::none, 0},
    {"I8", "INT8", Format::i8, Mix::none, 0},
    {"F8_E4M3", "FP8", Format::f8_e4m3, Mix::none, 0},
    {"F8_E4M3_B128", "FP8_BLOCK", Format::f8_e4m3, Mix::none, 0, 128},
    {"F8_E5M2", nullptr, Format::f8_e5m2, Mix::none, 0},
    {"COPY", nullptr, std::nullopt, Mix::none, 0},
};

}  // namespace

std::span<const QuantizeType> quantize_types() {
  return kTypes;
}

const QuantizeType* find_quantize_type(std::string_view name) {
  const auto it = std::ranges::find_if(kTypes, [name](const QuantizeType& type) {
    return same_letters(name, type.name) ||
           (type.alias != nullptr && same_letters(name, type.alias));
  });
  return it == std::end(kTypes) ? nullptr : it;
}

}  // namespace dunlin
