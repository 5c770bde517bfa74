// The tests of `bench model` on a model that fills in masks. A prompt of N tokens is one pass over a
// canvas of N positions, with logits of all of them; after D tokens it is a pass over the last N
// positions of a canvas of D + N, as within a block of the dual cache. To generate N tokens is to fill
// in N masks behind the prompt and the depth.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/result.h"
#include "cli/bench_model.h"
#include "cli/diffusion_flags.h"
#include "engine/model.h"

namespace dunlin {

// Positions of the test's canvas: an answer has at least one before its first mask, as llama-bench
// begins with the bos token where there is no prompt.
int64_t canvas_positions(const BenchTest& test);

// From the headers alone.
Result<bool> is_diffusion_model(const std::string& path);

// ModelBench, or the tests above. `model` outlives it. Errors: flags of the other kind of model, no
// memory for the KV cache.
Result<std::unique_ptr<TestBench>> make_test_bench(Model& model, const DiffusionFlags& flags);

}  // namespace dunlin
