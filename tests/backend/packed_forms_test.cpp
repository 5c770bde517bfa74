// The table of forms, against what the formats are.
#include "backend/packed_forms.h"

#include <gtest/gtest.h>

namespace dunlin {
namespace {

using Kind = DeviceForm::Kind;

constexpr Platform kPlatforms[] = {Platform::cpu, Platform::gpu, Platform::tpu, Platform::other};

// Codes, groups and minimums of a form are those that the format's decoder gives.
TEST(PackedForms, HoldWhatTheFormatSays) {
  for (const Platform platform : kPlatforms) {
    for (const FormRow& row : form_table(platform)) {
      const FormatTraits& format = traits(row.format);
      const DeviceForm& form = row.form;
      EXPECT_STRNE(row.measured, "") << format.name;
      if (form.kind == Kind::values) continue;
      EXPECT_NE(form.kind, Kind::rows) << format.name;
      EXPECT_EQ(form.minimums, format.has_min) << format.name;
      if (row.format == Format::mxfp4) {
        EXPECT_EQ(form.group, 32);
        continue;
      }
      EXPECT_LE(format.bits, code_bits(form.code)) << format.name;
      // Codes from zero on need no sign, and have none where they take four bits.
      EXPECT_EQ(form.code == CodeType::u4, code_bits(form.code) == 4 && format.has_min)
          << format.name;
      EXPECT_EQ(form.group, form.kind == Kind::channels ? 0 : format.group) << format.name;
      // One scale for a row is beside the elements.
      EXPECT_EQ(form.kind == Kind::channels, format.largest > 0.0f) << format.name;
    }
  }
}

TEST(PackedForms, FormatsOfFewBitsStayNarrowOnATpu) {
  for (const FormRow& row : form_table(Platform::tpu)) {
    const bool f8 = row.format == Format::f8_e4m3 || row.format == Format::f8_e5m2;
    EXPECT_EQ(is_widened(row.format, Platform::tpu), f8) << traits(row.format).name;
    if (f8 || traits(row.format).is_plain()) continue;
    const bool four_bits = row.format == Format::mxfp4 || traits(row.format).bits <= 4;
    EXPECT_EQ(code_bits(row.form.code), four_bits ? 4 : 8) << traits(row.format).name;
    EXPECT_LE(row_bits(row.form, 4096), 4096 * 10) << traits(row.format).name;
  }
}

TEST(PackedForms, AGpuKeepsOneScalePerOutputOnly) {
  for (const FormRow& row : form_table(Platform::gpu)) {
    const bool packed = row.form.kind != Kind::values;
    EXPECT_EQ(packed, row.format == Format::i8) << traits(row.format).name;
  }
  EXPECT_TRUE(is_widened(Format::q4_0, Platform::gpu));
  EXPECT_FALSE(is_widened(Format::f16, Platform::gpu));
  EXPECT_FALSE(is_widened(Format::i8, Platform::gpu));
}

TEST(PackedForms, BitsCountScalesAndMinimums) {
  const auto bits = [](Format format) {
    return row_bits(matrix_form(format, Precision::automatic, Platform::tpu), 256);
  };
  EXPECT_EQ(bits(Format::q4_0), 256 * 4 + 8 * 32);
  EXPECT_EQ(bits(Format::q4_k), 256 * 4 + 8 * 64);
  EXPECT_EQ(bits(Format::q2_k), 256 * 4 + 16 * 64);
  EXPECT_EQ(bits(Format::mxfp4), 256 * 4 + 8 * 8);
  EXPECT_EQ(bits(Format::i8), 256 * 8 + 32);
  EXPECT_EQ(bits(Format::bf16), 256 * 16);
}

TEST(PackedForms, WhatIsDecodedHasTheTypeOfTheArithmetic) {
  for (const Platform platform : kPlatforms) {
    const auto code = [platform](Format format, Precision precision) {
      return matrix_form(format, precision, platform).code;
    };
    EXPECT_EQ(code(Format::f32, Precision::exact), CodeType::f32);
    EXPECT_EQ(code(Format::f16, Precision::exact), CodeType::bf16);
    EXPECT_EQ(code(Format::bf16, Precision::f32), CodeType::f32);
    EXPECT_EQ(matrix_form(Format::q8_0, Precision::f32, platform).kind,
              matrix_form(Format::q8_0, Precision::exact, platform).kind);
  }
}

TEST(PackedForms, TablesKeepTheFormatsPrecision) {
  EXPECT_EQ(to_string(table_form(Format::bf16)), "bf16");
  EXPECT_EQ(to_string(table_form(Format::f16)), "f16");
  EXPECT_EQ(to_string(table_form(Format::f8_e4m3)), "f32");
  EXPECT_EQ(to_string(table_form(Format::q4_k)), "i8 in groups of 32 with minimums");
  EXPECT_EQ(to_string(table_form(Format::q6_k)), "i8 in groups of 16");
  EXPECT_EQ(to_string(table_form(Format::mxfp4)), "i8 in groups of 32");
  EXPECT_EQ(to_string(table_form(Format::i8)), "i8 with a scale per row");
}

TEST(PackedForms, PlatformsHaveTheNamesOfPlugIns) {
  EXPECT_EQ(platform_of("cpu"), Platform::cpu);
  EXPECT_EQ(platform_of("cpu-xla"), Platform::cpu);
  EXPECT_EQ(platform_of("cuda"), Platform::gpu);
  EXPECT_EQ(platform_of("gpu"), Platform::gpu);
  EXPECT_EQ(platform_of("tpu"), Platform::tpu);
  EXPECT_EQ(platform_of("npu"), Platform::other);
}

}  // namespace
}  // namespace dunlin
