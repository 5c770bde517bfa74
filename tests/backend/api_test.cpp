// The table of docs/decisions/0002-numerics.md, row by row.
#include "backend/api.h"

#include <gtest/gtest.h>

namespace dunlin {
namespace {

constexpr Format kIntegerFormats[] = {Format::q4_0, Format::q4_1, Format::q5_0, Format::q5_1,
                                      Format::q8_0, Format::q2_k, Format::q3_k, Format::q4_k,
                                      Format::q5_k, Format::q6_k, Format::i8};

TEST(Arithmetic, F32ProfileIsF32) {
  for (const FormatTraits& format : all_formats()) {
    for (const RowClass row_class : {RowClass::prompt, RowClass::generated}) {
      EXPECT_EQ(linear_arithmetic(format.format, Precision::f32, row_class), Arithmetic::f32);
    }
  }
}

TEST(Arithmetic, F32WeightsStayF32InEveryProfile) {
  for (const Precision precision :
       {Precision::automatic, Precision::exact, Precision::int8, Precision::f32}) {
    for (const RowClass row_class : {RowClass::prompt, RowClass::generated}) {
      EXPECT_EQ(linear_arithmetic(Format::f32, precision, row_class), Arithmetic::f32);
    }
  }
}

TEST(Arithmetic, ShortFloatingFormatsAreBf16) {
  for (const Format format :
       {Format::f16, Format::bf16, Format::mxfp4, Format::f8_e4m3, Format::f8_e5m2}) {
    for (const Precision precision : {Precision::automatic, Precision::exact, Precision::int8}) {
      for (const RowClass row_class : {RowClass::prompt, RowClass::generated}) {
        EXPECT_EQ(linear_arithmetic(format, precision, row_class), Arithmetic::bf16);
      }
    }
  }
}

TEST(Arithmetic, IntegerFormatsAreInt8ForGeneratedRowsUnderAutoAndForAllUnderInt8) {
  for (const Format format : kIntegerFormats) {
    EXPECT_EQ(linear_arithmetic(format, Precision::automatic, RowClass::prompt), Arithmetic::bf16);
    EXPECT_EQ(linear_arithmetic(format, Precision::automatic, RowClass::generated),
              Arithmetic::int8);
    EXPECT_EQ(linear_arithmetic(format, Precision::exact, RowClass::prompt), Arithmetic::bf16);
    EXPECT_EQ(linear_arithmetic(format, Precision::exact, RowClass::generated), Arithmetic::bf16);
    EXPECT_EQ(linear_arithmetic(format, Precision::int8, RowClass::prompt), Arithmetic::int8);
    EXPECT_EQ(linear_arithmetic(format, Precision::int8, RowClass::generated), Arithmetic::int8);
  }
}

TEST(Precision, NamesAreThoseOfTheCommandLine) {
  EXPECT_STREQ(precision_name(Precision::automatic), "auto");
  EXPECT_STREQ(precision_name(Precision::exact), "exact");
  EXPECT_STREQ(precision_name(Precision::int8), "int8");
  EXPECT_STREQ(precision_name(Precision::f32), "f32");
}

}  // namespace
}  // namespace dunlin
