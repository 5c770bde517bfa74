// The numbers are of programs compiled ahead of time (November 2026): a decode step of eight
// rows through 32 layers of width 4096 and ffn 14336. A form passes when the temporary memory of the
// program is at most 1 % of its arguments, which tests/pjrt/packed_aot_test.cpp checks again.
#include "backend/packed_forms.h"

#include <array>
#include <cstddef>

namespace dunlin {
namespace {

using Kind = DeviceForm::Kind;

constexpr DeviceForm values(CodeType code) {
  return {.code = code, .kind = Kind::values};
}
constexpr DeviceForm channels(CodeType code) {
  return {.code = code, .kind = Kind::channels};
}
// XLA for CUDA reads what it sums over side by side.
constexpr DeviceForm channels_of_rows(CodeType code) {
  return {.code = code, .kind = Kind::channels, .inputs_last = true};
}
constexpr DeviceForm groups(CodeType code, int64_t group, bool minimums = false) {
  return {.code = code, .kind = Kind::groups, .group = group, .minimums = minimums};
}

constexpr const char* kStored = "as stored";
constexpr const char* kTpuBf16 = "temp 17.9 MB (0.11 %), 43.1 Mcycles on v5e";
constexpr const char* kTpuFour = "i4 or ui4 [G,32,N]: temp 0, 37.3 Mcycles on v5e, 14.0 on v6e";
constexpr const char* kTpuEight = "as i4 [G,32,N], whose products and sums it shares";
constexpr const char* kNoF8 = "no packed form of FP8 was compiled yet";
constexpr const char* kGpuFour =
    "i4 [G,32,N]: temp 0.90 % at 8 rows, 1.79 % at 16, and 4 x the weight's bytes as partial sums; "
    "scale on the weight: 1.8 %";
constexpr const char* kGpuEight = "i8 [G,32,N], scale on the weight: temp 121 MB (1.8 %)";
constexpr const char* kGpuF4 =
    "f4E2M1FN: temp 121 MB (1.8 %); nibbles and exponents: 177 to 239 MB";

constexpr const char* kGpuI8 =
    "[O,I], temp 4.0 MB on an H100; 14336 x 4096 on an H200: a row 26 us as a sum and 35 as a "
    "product, where [I,O] takes 54; four rows 24 and 29";

constexpr size_t kFormats = 17;
using FormTable = std::array<FormRow, kFormats>;

constexpr FormTable kTpu = {{
    {Format::f32, values(CodeType::f32), kStored},
    {Format::f16, values(CodeType::bf16), kTpuBf16},
    {Format::bf16, values(CodeType::bf16), kTpuBf16},
    {Format::q4_0, groups(CodeType::i4, 32), kTpuFour},
    {Format::q4_1, groups(CodeType::u4, 32, true), kTpuFour},
    {Format::q5_0, groups(CodeType::i8, 32), kTpuEight},
    {Format::q5_1, groups(CodeType::i8, 32, true), kTpuEight},
    {Format::q8_0, groups(CodeType::i8, 32), kTpuEight},
    {Format::q2_k, groups(CodeType::u4, 16, true), kTpuFour},
    {Format::q3_k, groups(CodeType::i4, 16), kTpuFour},
    {Format::q4_k, groups(CodeType::u4, 32, true), kTpuFour},
    {Format::q5_k, groups(CodeType::i8, 32, true), kTpuEight},
    {Format::q6_k, groups(CodeType::i8, 16), kTpuEight},
    {Format::mxfp4,
     {.code = CodeType::f4, .kind = Kind::groups, .group = 32, .exponents = true},
     "f4E2M1FN [G,32,N] and bytes of exponents: temp 0, 34.8 Mcycles on v5e"},
    {Format::i8, channels(CodeType::i8), "temp 0, 29.4 Mcycles on v5e, 13.3 on v6e"},
    {Format::f8_e4m3, values(CodeType::bf16), kNoF8},
    {Format::f8_e5m2, values(CodeType::bf16), kNoF8},
}};

constexpr FormTable kGpu = {{
    {Format::f32, values(CodeType::f32), kStored},
    {Format::f16, values(CodeType::bf16), "temp 4.0 MB on an H100"},
    {Format::bf16, values(CodeType::bf16), "temp 4.0 MB on an H100"},
    {Format::q4_0, values(CodeType::bf16), kGpuFour},
    {Format::q4_1, values(CodeType::bf16), kGpuFour},
    {Format::q5_0, values(CodeType::bf16), kGpuEight},
    {Format::q5_1, values(CodeType::bf16), kGpuEight},
    {Format::q8_0, values(CodeType::bf16), kGpuEight},
    {Format::q2_k, values(CodeType::bf16), kGpuFour},
    {Format::q3_k, values(CodeType::bf16), kGpuFour},
    {Format::q4_k, values(CodeType::bf16), kGpuFour},
    {Format::q5_k, values(CodeType::bf16), kGpuEight},
    {Format::q6_k, values(CodeType::bf16), kGpuEight},
    {Format::mxfp4, values(CodeType::bf16), kGpuF4},
    {Format::i8, channels_of_rows(CodeType::i8), kGpuI8},
    {Format::f8_e4m3, values(CodeType::bf16), kNoF8},
    {Format::f8_e5m2, values(CodeType::bf16), kNoF8},
}};

constexpr DeviceForm decoded_form(Format format) {
  return values(format == Format::f32 ? CodeType::f32 : CodeType::bf16);
}

// XLA for CPU is there to check the forms of a TPU, not to be fast: it widens a weight in any form.
constexpr FormTable cpu_table() {
  FormTable table = kTpu;
  for (FormRow& row : table) row.measured = "as on a TPU";
  return table;
}
constexpr FormTable other_table() {
  FormTable table = kTpu;
  for (FormRow& row : table) {
    row.form = decoded_form(row.format);
    row.measured = "nothing was compiled for it";
  }
  return table;
}
constexpr FormTable kCpu = cpu_table();
constexpr FormTable kOther = other_table();

constexpr bool in_enum_order(const FormTable& table) {
  for (size_t i = 0; i < table.size(); ++i) {
    if (static_cast<size_t>(table[i].format) != i) return false;
  }
  return true;
}
static_assert(in_enum_order(kTpu) && in_enum_order(kGpu));

const DeviceForm& form_of(Format format, Platform platform) {
  return form_table(platform)[static_cast<size_t>(format)].form;
}

}  // namespace

Platform platform_of(std::string_view name) {
  if (name == "cpu" || name == "cpu-xla") return Platform::cpu;
  if (name == "tpu") return Platform::tpu;
  return name == "gpu" || name == "cuda" || name == "rocm" ? Platform::gpu : Platform::other;
}

const char* platform_name(Platform platform) {
  switch (platform) {
    case Platform::cpu:
      return "XLA for CPU";
    case Platform::gpu:
      return "a GPU";
    case Platform::tpu:
      return "a TPU";
    case Platform::other:
      break;
  }
  return "this device";
}

const char* code_name(CodeType code) {
  switch (code) {
    case CodeType::f32:
      return "f32";
    case CodeType::f16:
      return "f16";
    case CodeType::bf16:
      return "bf16";
    case CodeType::i8:
      return "i8";
    case CodeType::i4:
      return "i4";
    case CodeType::u4:
      return "u4";
    case CodeType::f4:
      break;
  }
  return "f4";
}

int64_t code_bits(CodeType code) {
  if (code == CodeType::f32) return 32;
  if (code == CodeType::f16 || code == CodeType::bf16) return 16;
  return code == CodeType::i8 ? 8 : 4;
}

std::string to_string(const DeviceForm& form) {
  std::string text = code_name(form.code);
  if (form.kind == Kind::values) return text;
  if (form.kind == Kind::channels) return text + ", a scale per output";
  text += form.group == 0 ? " with a scale per row" : " in groups of " + std::to_string(form.group);
  return form.minimums ? text + " with minimums" : text;
}

int64_t row_bits(const DeviceForm& form, int64_t columns) {
  const int64_t codes = columns * code_bits(form.code);
  if (form.kind == Kind::values) return codes;
  const int64_t scales = form.group == 0 ? 1 : columns / form.group;
  const int64_t each = (form.exponents ? 8 : 32) + (form.minimums ? 32 : 0);
  return codes + scales * each;
}

std::span<const FormRow> form_table(Platform platform) {
  switch (platform) {
    case Platform::cpu:
      return kCpu;
    case Platform::gpu:
      return kGpu;
    case Platform::tpu:
      return kTpu;
    case Platform::other:
      break;
  }
  return kOther;
}

DeviceForm matrix_form(Format format, Precision precision, Platform platform) {
  const DeviceForm form = form_of(format, platform);
  if (form.kind != Kind::values) return form;
  const bool f32 = linear_arithmetic(format, precision, RowClass::prompt) == Arithmetic::f32;
  return values(f32 ? CodeType::f32 : CodeType::bf16);
}

DeviceForm table_form(Format format) {
  if (format == Format::bf16) return values(CodeType::bf16);
  if (format == Format::f16) return values(CodeType::f16);
  const FormatTraits& row = traits(format);
  DeviceForm form{.code = CodeType::i8, .kind = Kind::rows, .group = 32};
  if (format == Format::i8) {
    form.group = 0;
    return form;
  }
  if (format == Format::mxfp4) return form;
  if (row.group == 0) return values(CodeType::f32);
  form.group = row.group;
  form.minimums = row.has_min;
  return form;
}

bool is_widened(Format format, Platform platform) {
  const bool narrow = traits(format).block_bytes < 2 * traits(format).block_elements;
  return narrow && form_of(format, platform).kind == Kind::values;
}

}  // namespace dunlin
