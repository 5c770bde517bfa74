// The diffusion part of parity: what the loops of a reference decide, step by step, computed anew.
//
// Arrays of the reference, N positions: diff.{algorithm}.s{steps}.ids [N] and .history [steps,N], the
// canvas at the end and after each step; .ntrans [steps], how many positions each step decides;
// fast.{nocache,prefix,dual,refreshed}.ids [N] and .nfe [1], the number of forward passes (refreshed:
// dual with keys and values of the whole canvas in every pass). Its metadata holds
// the parameters: prompt_tokens, max_new_tokens, mask_token_id, diff_eps, block_length, threshold,
// fast_steps (of fast.nocache).
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "engine/model.h"
#include "parity/array_file.h"

namespace dunlin {

// Instead of the reference's own parameters.
struct DiffusionOverrides {
  std::optional<double> eps = {};
  std::optional<int64_t> block_length = {}, fast_steps = {};
  std::optional<float> threshold = {};
};

// Adds the arrays of the reference that `model` produces to `values`, and their names to `order`.
// Errors (kind model): a parameter that is missing in the metadata or no number.
Result<void> compute_diffusion(Model& model, const ArrayFile& reference,
                               const std::vector<int32_t>& input_ids,
                               const DiffusionOverrides& overrides,
                               std::map<std::string, Array>& values,
                               std::vector<std::string>& order);

}  // namespace dunlin
