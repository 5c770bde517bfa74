// `dunlin run` on a model that fills in masks: many canvases in one forward pass, answers in order.
#pragma once

#include <string>
#include <vector>

#include "cli/diffusion_flags.h"
#include "cli/prompt_source.h"
#include "engine/model.h"

namespace dunlin {

struct DiffusionRunOptions {
  DiffusionParams params = {};      // of every prompt; a line of a batch may change some
  bool steps_follow_tokens = true;  // one step per token, whatever a line sets
  PromptFormat format = {};
  std::vector<std::string> stop = {};
  bool ignore_eos = false, early_exit = true;
  bool json = false, stream = false, visual = false, quiet = false;
};

// The exit code: of the first prompt that failed, or of the signal that came.
Result<int> run_diffusion(const PromptBatch& batch, const DiffusionRunOptions& options,
                          Model& model);

}  // namespace dunlin
