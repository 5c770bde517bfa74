// The forms in which the devices of PJRT plug-ins hold weights: one table from (platform, number
// format) to a form, with what was measured of it. docs/decisions/0011-packed-weights.md explains it.
#pragma once

#include <compare>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "backend/api.h"
#include "formats/format.h"

namespace dunlin {

enum class Platform : uint8_t { cpu, gpu, tpu, other };

// Of the name that a plug-in gives its platform ("cpu", "cuda", "rocm", "tpu") or --device takes
// ("cpu-xla", "gpu").
Platform platform_of(std::string_view name);
const char* platform_name(Platform platform);  // for people: "a TPU"

// f4 is E2M1; u4 has no sign.
enum class CodeType : uint8_t { f32, f16, bf16, i8, i4, u4, f4 };
const char* code_name(CodeType code);
int64_t code_bits(CodeType code);

// A weight [.., O, I] on a device. Scales and minimums are float32: value = scale * code + minimum, as
// the format decodes (formats/format.h), and no bit of what a checkpoint says is lost.
struct DeviceForm {
  enum class Kind : uint8_t {
    values,  // decoded: [.., O, I] in `code`
    channels,  // codes [.., I, O] and a scale for each output [.., O], which the sum is multiplied by;
               // with `inputs_last` codes [.., O, I]
    groups,  // codes [.., I / group, group, O] and scales [.., I / group, O]: a product for each
             // group, multiplied by its scale and then summed, so that no scale meets a code
    rows,    // a table that rows are looked up in: codes [V, D], scales [V, D / group] or [V]
  };
  CodeType code = CodeType::f32;
  Kind kind = Kind::values;
  int64_t group = 0;         // columns that share a scale; 0: all of a row
  bool minimums = false;     // of the shape of the scales
  bool exponents = false;    // a scale is a byte e, and means 2^(e - 127)
  bool inputs_last = false;  // of channels: the inputs of an output lie side by side, as in files

  friend auto operator<=>(const DeviceForm&, const DeviceForm&) = default;
};

// "bf16"; "i8, a scale per output"; "u4 in groups of 32 with minimums".
std::string to_string(const DeviceForm& form);

// Bits of device memory that a row of `columns` weights takes, its scales included.
int64_t row_bits(const DeviceForm& form, int64_t columns);

// A choice of the table.
struct FormRow {
  Format format = Format::f32;
  DeviceForm form = {};
  const char* measured = "";  // of the compiled program: why this form and no other
};

// Of every format, in the order of the enum.
std::span<const FormRow> form_table(Platform platform);

// How `linear` and `experts` read a matrix. Under Precision::f32, and of F32, what is decoded is
// float32; packed forms are the same in every precision.
DeviceForm matrix_form(Format format, Precision precision, Platform platform);
// How `embed` reads a table: in the format's own precision, on every platform.
DeviceForm table_form(Format format);

// True: the format has fewer bits than bf16, but no form that keeps them passes on this platform.
bool is_widened(Format format, Platform platform);

}  // namespace dunlin
