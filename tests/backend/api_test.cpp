// The table of docs/decisions/0002-numerics.md, row by row.
#include "backend/api.h"

#include <gtest/gtest.h>

#include <optional>
#include <string>

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
       {Precision::automatic, Precision::exact, Precision::int8, Precision::fast, Precision::f32}) {
    for (const RowClass row_class : {RowClass::prompt, RowClass::generated}) {
      EXPECT_EQ(linear_arithmetic(Format::f32, precision, row_class), Arithmetic::f32);
    }
  }
}

TEST(Arithmetic, ShortFloatingFormatsAreBf16) {
  for (const Format format : {Format::f16, Format::bf16, Format::f8_e4m3, Format::f8_e5m2}) {
    for (const Precision precision : {Precision::automatic, Precision::exact, Precision::int8}) {
      for (const RowClass row_class : {RowClass::prompt, RowClass::generated}) {
        EXPECT_EQ(linear_arithmetic(format, precision, row_class), Arithmetic::bf16);
      }
    }
  }
}

// Its values are bf16, and halves of whole numbers.
TEST(Arithmetic, Mxfp4IsInt8WhereThatIsAskedFor) {
  for (const RowClass row_class : {RowClass::prompt, RowClass::generated}) {
    for (const Precision precision : {Precision::automatic, Precision::exact})
      EXPECT_EQ(linear_arithmetic(Format::mxfp4, precision, row_class), Arithmetic::bf16);
    EXPECT_EQ(linear_arithmetic(Format::mxfp4, Precision::int8, row_class), Arithmetic::int8);
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

TEST(Arithmetic, FastIsInt8wideButForWeightsThatAreKept) {
  for (const FormatTraits& format : all_formats()) {
    if (format.format == Format::f32) continue;
    for (const RowClass row_class : {RowClass::prompt, RowClass::generated}) {
      EXPECT_EQ(linear_arithmetic(format.format, Precision::fast, row_class), Arithmetic::int8wide)
          << format.name;
      EXPECT_EQ(linear_arithmetic(format.format, Precision::fast, row_class, /*kept=*/true),
                linear_arithmetic(format.format, Precision::int8, row_class))
          << format.name;
    }
  }
  // Other profiles make no difference.
  EXPECT_EQ(linear_arithmetic(Format::q4_0, Precision::exact, RowClass::prompt, /*kept=*/true),
            Arithmetic::bf16);
}

TEST(Precision, NamesAreThoseOfTheCommandLine) {
  EXPECT_STREQ(precision_name(Precision::automatic), "auto");
  EXPECT_STREQ(precision_name(Precision::exact), "exact");
  EXPECT_STREQ(precision_name(Precision::int8), "int8");
  EXPECT_STREQ(precision_name(Precision::fast), "fast");
  EXPECT_STREQ(precision_name(Precision::f32), "f32");
}

TEST(KvTypeOf, NamesAreThoseOfTheCommandLine) {
  for (const KvType type : {KvType::bf16, KvType::f32, KvType::int8})
    EXPECT_EQ(parse_kv_type(kv_type_name(type)), type);
  for (const char* name : {"", "q8_0", "INT8", "f16", "automatic"})
    EXPECT_FALSE(parse_kv_type(name).has_value()) << name;
}

TEST(KvTypeOf, TheProfileDecidesUnlessAsked) {
  for (const Precision precision : {Precision::automatic, Precision::exact, Precision::int8}) {
    EXPECT_EQ(kv_type_of(precision, std::nullopt).value(), KvType::bf16);
    EXPECT_EQ(kv_type_of(precision, KvType::bf16).value(), KvType::bf16);
    EXPECT_EQ(kv_type_of(precision, KvType::int8).value(), KvType::int8);
    const auto f32 = kv_type_of(precision, KvType::f32);
    ASSERT_FALSE(f32.ok());
    EXPECT_EQ(f32.error().kind, ErrorKind::usage);
    EXPECT_EQ(f32.error().message, std::string("--precision ") + precision_name(precision) +
                                       " keeps keys and values in bf16 or int8, not in f32");
  }
  EXPECT_EQ(kv_type_of(Precision::f32, std::nullopt).value(), KvType::f32);
  EXPECT_EQ(kv_type_of(Precision::f32, KvType::f32).value(), KvType::f32);
  for (const KvType type : {KvType::bf16, KvType::int8}) {
    const auto refused = kv_type_of(Precision::f32, type);
    ASSERT_FALSE(refused.ok());
    EXPECT_EQ(refused.error().kind, ErrorKind::usage);
  }
}

TEST(KvTypeOf, BytesOfAHeadCountItsScale) {
  EXPECT_EQ(kv_head_bytes(KvType::bf16, 64), 128);
  EXPECT_EQ(kv_head_bytes(KvType::f32, 64), 256);
  EXPECT_EQ(kv_head_bytes(KvType::int8, 64), 68);
}

}  // namespace
}  // namespace dunlin
