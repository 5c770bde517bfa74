// Runs operation cases: makes weights and StepPlans, executes them on a back end, and compares what
// two back ends gave, bit for bit.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "backend/api.h"
#include "operation_cases.h"

namespace dunlin {

// What may change without changing a bit of the results.
struct CaseVariation {
  uint64_t page_placement = 0;  // seed of the order in which physical pages are handed out
  bool expanded = false;        // replace every semantic operation by its definition
  // Each sequence has a slot with pages of its own (KvState::pages_per_slot), and limits are as
  // small as the case.
  bool slots = false;
};

// A case ready to compile and run: the step plans are complete, so that they can be timed alone.
struct PreparedCase {
  Program program;
  WeightSource weights;
  StepLimits limits;
  std::vector<int64_t> pages_per_group;
  std::vector<StepPlan> plans;
};

Result<PreparedCase> prepare_case(const OperationCase& operation_case,
                                  const CaseVariation& variation = {});

// A copy of one output of one step.
struct CaseValue {
  std::string name;
  DType dtype = DType::f32;
  Shape shape;
  std::vector<std::byte> bytes;

  const float* f32() const { return reinterpret_cast<const float*>(bytes.data()); }
  const int32_t* i32() const { return reinterpret_cast<const int32_t*>(bytes.data()); }
  int64_t size() const { return element_count(shape); }
};

// Outputs of each step: the taps, and of the logits "logits" [R,V], and where the Program has the
// view "lse", "entropy", "varentropy", "finite" [R], "candidate_ids" and "candidate_logits" [R,k].
using CaseResult = std::vector<std::vector<CaseValue>>;

// `isa`, `threads` and `kv_type` are passed on to the back end.
Result<CaseResult> run_prepared(Backend& backend, const PreparedCase& prepared, Precision precision,
                                const std::string& isa = "", int threads = 1,
                                std::optional<KvType> kv_type = std::nullopt);
Result<CaseResult> run_case(Backend& backend, const OperationCase& operation_case,
                            Precision precision, const CaseVariation& variation = {},
                            std::optional<KvType> kv_type = std::nullopt);

// Empty when both hold the same bits (all NaNs are one value); otherwise where they differ first.
std::string first_difference(const CaseResult& actual, const CaseResult& expected);

// Empty when |actual - expected| <= tolerance * max(1, |expected|) everywhere and integers agree.
std::string first_distance(const CaseResult& actual, const CaseResult& expected, float tolerance);

// Random weights for the declarations of a Program, the same for the same name, shape and format.
// Matrices have variance 1 / columns. Of a vector that ends in "_with_nan" every fifth element is NaN,
// in "_with_few_numbers" ten of eleven.
WeightSource case_weights(const Program& program, Format format);

}  // namespace dunlin
