// The SMMLA kernels over emulated products and plain lanes. Where the instruction exists, LinearTest
// runs the same kernels on it.
#include "backend/cpu/kernels/activations.h"
#include "backend/cpu/kernels/scalar/simd.h"
#include "backend/cpu/kernels/tables.h"
#include "base/scalar_math.h"
#include "base/thread_pool.h"
#include "emulated_pairs.h"
#include "linear_case.h"

namespace dunlin::i8mm {
namespace {
// In this order: each uses the names of those before.
#include "backend/cpu/kernels/vector/math.inl.h"

#include "backend/cpu/kernels/vector/records.inl.h"

#include "backend/cpu/kernels/vector/linear.inl.h"

#include "backend/cpu/kernels/vector/int8_rows.inl.h"

#include "backend/cpu/kernels/i8mm/dot.inl.h"

#include "backend/cpu/kernels/vector/int8.inl.h"

#include "backend/cpu/kernels/vector/wide_rows.inl.h"

#include "backend/cpu/kernels/vector/wide.inl.h"

#include "backend/cpu/kernels/i8mm/int8.inl.h"

}  // namespace
}  // namespace dunlin::i8mm

namespace dunlin {
namespace {

LinearFunction* emulated_pairs(PackedForm form) {
  switch (form) {
    case PackedForm::q4:
      return i8mm::linear_int8_pairs<PackedForm::q4>;
    case PackedForm::q4_min:
      return i8mm::linear_int8_pairs<PackedForm::q4_min>;
    case PackedForm::q5:
      return i8mm::linear_int8_pairs<PackedForm::q5>;
    case PackedForm::q5_min:
      return i8mm::linear_int8_pairs<PackedForm::q5_min>;
    case PackedForm::q6:
      return i8mm::linear_int8_pairs<PackedForm::q6>;
    case PackedForm::q8:
      return i8mm::linear_int8_pairs<PackedForm::q8>;
    case PackedForm::mxfp4:
      return i8mm::linear_int8_pairs<PackedForm::mxfp4>;
    case PackedForm::wide:
      return i8mm::linear_wide_pairs;
    default:
      return nullptr;
  }
}

class EmulatedI8mmTest : public LinearTest {};

// Rows of whole passes, of halves of one, and alone in their pair.
TEST_P(EmulatedI8mmTest, EqualsThePlainLoops) {
  LinearFunction* linear = emulated_pairs(weight_->form);
  const bool wide = weight_->form == PackedForm::wide;
  ASSERT_EQ(linear != nullptr, dot_bits(weight_->form) != 0);
  if (linear == nullptr) return;
  const FlushToZero flush_to_zero;
  const Arithmetic arithmetic = wide ? Arithmetic::int8wide : Arithmetic::int8;
  PrepareFunction* prepare = kernels(Isa::scalar).prepare[static_cast<int>(arithmetic)].run;
  const std::vector<float> sums = expected(arithmetic);
  for (const int64_t rows : {2, 3, 4, 7, 16, 33}) {
    SCOPED_TRACE(rows);
    const std::vector<float> y = run(prepare, linear, arithmetic, {rows});
    ASSERT_TRUE(same_bits(y.data(), sums.data(), rows * channels_));
    const Run pieces{rows, nullptr, nullptr, 1, 16};
    ASSERT_TRUE(same_bits(run(prepare, linear, arithmetic, pieces), y));
  }
}

INSTANTIATE_TEST_SUITE_P(Forms, EmulatedI8mmTest,
                         testing::Combine(testing::Range(0,
                                                         static_cast<int>(weight_cases().size())),
                                          testing::Values(64, 96, 576)),
                         linear_case_name);

}  // namespace
}  // namespace dunlin
