// What is refused before anything is compiled, ahead of time as by the back end.
#include "backend/pjrt/profile.h"

#include <gtest/gtest.h>

#include <string>

#include "backend/pjrt/compile_ahead.h"
#include "bare_models.h"
#include "mesh_models.h"
#include "models/registry.h"
#include "pjrt_device.h"

namespace dunlin::pjrt {
namespace {

void expect_refused(const CompileOptions& compile, const std::string& message) {
  const auto program = record_model(llama_config(), {.logits_view_k = 8});
  ASSERT_TRUE(program.ok()) << program.error().message;
  const WeightSource weights = shapes_of(*program, Format::f32);
  AheadOptions ahead;
  ahead.compile = compile;
  const auto refused = compile_ahead(*program, weights, ahead);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().kind, ErrorKind::usage);
  EXPECT_EQ(refused.error().message, message);
  if (!has_plugin()) return;
  const auto executable = test_backend().compile(*program, weights, compile);
  ASSERT_FALSE(executable.ok());
  EXPECT_EQ(executable.error().kind, ErrorKind::usage);
  EXPECT_EQ(executable.error().message, message);
}

// Codes have scales beside them, for which there are no arrays.
TEST(PjrtProfile, KeysAndValuesInInt8AreRefused) {
  CompileOptions compile;
  compile.kv_type = KvType::int8;
  expect_refused(compile, "the pjrt back end keeps no keys and values in int8");
}

TEST(PjrtProfile, ArithmeticOfIntegersIsRefused) {
  for (const Precision precision : {Precision::int8, Precision::fast}) {
    CompileOptions compile;
    compile.precision = precision;
    expect_refused(compile,
                   "the pjrt back end has no int8 arithmetic; --precision auto computes in bf16");
  }
}

TEST(PjrtProfile, TheOthersAreTaken) {
  for (const Precision precision : {Precision::automatic, Precision::exact, Precision::f32}) {
    CompileOptions compile;
    compile.precision = precision;
    EXPECT_TRUE(check_profile(compile).ok()) << precision_name(precision);
  }
}

}  // namespace
}  // namespace dunlin::pjrt
