// Batches of growing size, as far as memory holds them, on a model that is loaded once.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "cli/command.h"
#include "engine/model.h"

namespace dunlin {

// For Flag::check: a list as of parse_bench_list() of numbers from 1 to 1024.
Check batch_list();
// The numbers of such lists, ascending and each once; `fallback` where there is none.
Result<std::vector<int64_t>> parse_batches(const std::vector<std::string>& texts,
                                           std::vector<int64_t> fallback);

struct BatchModel {
  std::unique_ptr<Model> model = {};
  std::vector<int64_t> batches = {};     // that fit, ascending
  std::vector<std::string> issues = {};  // one for each that does not
};

// Loads the model for the largest batch that fits. `options` says what a batch needs, its context
// included; `prepare` takes the memory that comes on top and is called once for every model that was
// loaded. On the CPU sizes are computed before anything is loaded, since memory that is handed out
// and not there ends the process. Errors: those of loading; that not even the smallest batch fits
// (kind does_not_fit).
Result<BatchModel> load_for_batches(const std::string& path, std::vector<int64_t> batches,
                                    const std::function<ModelOptions(int64_t batch)>& options,
                                    const std::function<Result<void>(Model&)>& prepare);

}  // namespace dunlin
