// From prompts to canvases and from canvases to answers, for every command that runs a model which
// fills in masks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "base/metadata.h"
#include "base/result.h"
#include "cli/answer.h"
#include "cli/chat_settings.h"
#include "cli/diffusion_flags.h"
#include "cli/sampling_flags.h"
#include "engine/diffusion_runner.h"
#include "engine/model.h"

namespace dunlin {

// What the flags ask of every answer, but for end_ids. `max_tokens` -1: 128. Steps that are not given
// are one per token, the seed is a new one.
Result<DiffusionParams> answer_params(const DiffusionFlags& flags, const SamplingFlags& sampling,
                                      int64_t max_tokens, const Metadata& config);

// What a line of a batch and `/set` of a chat may change of them.
ChatSettings settings_of(const DiffusionParams& params);
// Takes the changes over. `steps_follow_tokens`: one step per token, whatever max_tokens became.
void take_settings(const ChatSettings& settings, bool steps_follow_tokens, DiffusionParams& params);

std::span<const int32_t> behind_prompt(const DiffusionDecoder& decoder);

// "step 3, 2 forward passes, 10 masks left"
std::string canvas_title(const DiffusionDecoder& decoder);
// A line of --json --stream: the answer number `index` as it stands after a pass.
nlohmann::ordered_json canvas_json(size_t index, const DiffusionDecoder& decoder,
                                   const Model& model);

// Fills in ids, text and statistics of the answer to answer.prompt_ids, up to the first of `end_ids` or
// a stop string. A canvas that is not over yet gives what is certain: the tokens before its first mask.
void take_answer(const DiffusionCanvas& canvas, std::span<const int32_t> end_ids,
                 const std::vector<std::string>& stop, double milliseconds, const Model& model,
                 Answer& answer);

}  // namespace dunlin
