#include "decode/diffusion.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "decode/unmasking.h"

namespace dunlin {

Result<DiffusionDecoder> DiffusionDecoder::create(std::vector<int32_t> prompt, int32_t mask_id,
                                                  bool shift_logits, DiffusionParams params) {
  DUNLIN_RETURN_IF_ERROR(validate(params));
  const bool infills = std::ranges::find(prompt, mask_id) != prompt.end();
  if (params.max_tokens == 0 && !infills) {
    return usage_error("max_tokens is 0 and the prompt has no masks: there is nothing to fill in");
  }
  DiffusionDecoder decoder(std::move(prompt), mask_id, shift_logits, std::move(params));
  const DiffusionParams& checked = decoder.params_;
  if (checked.cache != DiffusionCache::none) {
    if (infills) {
      return usage_error(
          "the prompt has masks, which need dlm_cache none: a cache knows blocks behind the "
          "prompt");
    }
    if (!decoder.adaptive() && checked.steps < decoder.blocks_) {
      return usage_error(
          fmt::format("steps is {}, but {} tokens in blocks of {} need one for each of {} blocks",
                      checked.steps, checked.max_tokens, checked.block_length, decoder.blocks_));
    }
  }
  decoder.plan();
  return decoder;
}

DiffusionDecoder::DiffusionDecoder(std::vector<int32_t> prompt, int32_t mask_id, bool shift_logits,
                                   DiffusionParams params)
    : canvas_(std::move(prompt)),
      prompt_size_(static_cast<int64_t>(canvas_.size())),
      mask_id_(mask_id),
      shift_logits_(shift_logits),
      params_(std::move(params)) {
  canvas_.resize(canvas_.size() + static_cast<size_t>(params_.max_tokens), mask_id);
  given_up_.resize(canvas_.size());
  per_step_ = masked() / params_.steps;
  blocks_ = (params_.max_tokens + params_.block_length - 1) / params_.block_length;
}

std::span<const int32_t> DiffusionDecoder::answer() const {
  const auto behind = std::span(canvas_).subspan(static_cast<size_t>(prompt_size_));
  const auto end = std::ranges::find_first_of(behind, params_.end_ids);
  return behind.first(static_cast<size_t>(end - behind.begin()));
}

int64_t DiffusionDecoder::masked() const {
  return std::ssize(masked_within(0, size()));
}

std::vector<int32_t> DiffusionDecoder::masked_within(int64_t begin, int64_t end) const {
  std::vector<int32_t> positions;
  for (int64_t position = begin; position < end; ++position) {
    const auto at = static_cast<size_t>(position);
    if (canvas_[at] == mask_id_ && !given_up_[at])
      positions.push_back(static_cast<int32_t>(position));
  }
  return positions;
}

// Nothing that is still masked stands before the first end token.
bool DiffusionDecoder::answer_is_certain() const {
  if (params_.end_ids.empty()) return false;
  const int64_t end = prompt_size_ + std::ssize(answer());
  return end < size() && masked_within(0, end).empty();
}

// ------------------------------------------------------------------------------------ the next pass

void DiffusionDecoder::plan() {
  if (answer_is_certain()) {
    finished_ = true;
  } else if (params_.cache != DiffusionCache::none) {
    plan_blocks();
  } else if (by_threshold()) {
    plan_threshold();
  } else if (by_entropy_bound()) {
    plan_entropy();
  } else {
    plan_schedule();
  }
}

void DiffusionDecoder::skip_step() {
  decided_.push_back(0);
  ++step_;
}

void DiffusionDecoder::plan_schedule() {
  const std::vector<int32_t> masked = masked_within(0, size());
  for (; step_ < params_.steps; skip_step()) {
    if (params_.algorithm == DiffusionAlgorithm::origin) {
      // Who is decided is known before the pass, so that only their logits are wanted.
      std::vector<int32_t> chosen =
          by_chance(masked, unmasked_share(step_, params_.steps, params_.eps));
      if (chosen.empty()) continue;
      selection_ = {.kind = UnmaskSelection::Kind::all};
      return want(0, size(), std::move(chosen));
    }
    const int64_t count = unmasked_count(std::ssize(masked), step_, params_.steps, params_.eps);
    if (count == 0) continue;
    selection_ = {.kind = UnmaskSelection::Kind::surest, .count = static_cast<size_t>(count)};
    return want(0, size(), masked);
  }
  finished_ = true;
}

// The last step takes all that is left, and is repeated until nothing is.
void DiffusionDecoder::plan_threshold() {
  std::vector<int32_t> masked = masked_within(0, size());
  if (masked.empty()) {
    finished_ = true;
    return;
  }
  const bool last = step_ + 1 >= params_.steps;
  const auto most = static_cast<size_t>(std::max<int64_t>(1, per_step_ + left_));
  selection_ = {.kind = UnmaskSelection::Kind::threshold,
                .count = last ? masked.size() : std::min(most, masked.size())};
  want(0, size(), std::move(masked));
}

void DiffusionDecoder::plan_entropy() {
  std::vector<int32_t> masked = masked_within(0, size());
  if (masked.empty()) {
    finished_ = true;
    return;
  }
  selection_ = {.kind = UnmaskSelection::Kind::entropy, .count = masked.size()};
  want(0, size(), std::move(masked));
}

void DiffusionDecoder::plan_blocks() {
  for (; block_ < blocks_; ++block_, block_step_ = 0) {
    const int64_t begin = prompt_size_ + block_ * params_.block_length;
    const int64_t end = std::min(begin + params_.block_length, size());
    const std::vector<int32_t> masked = masked_within(begin, end);
    while (!masked.empty() && (adaptive() || block_step_ < steps_of_block())) {
      const bool passes = plan_within_block(begin, end, masked);
      ++block_step_;
      if (passes) return;
      skip_step();
    }
  }
  finished_ = true;
}

// False: the step decides nothing. Skipping its pass changes no later one, since each writes its own
// keys and values before it reads any.
bool DiffusionDecoder::plan_within_block(int64_t begin, int64_t end,
                                         const std::vector<int32_t>& masked) {
  if (by_entropy_bound() && block_step_ == 0) {
    // With shifted logits no row of a pass over the block alone predicts its first token.
    selection_ = {
        .kind = UnmaskSelection::Kind::entropy, .count = masked.size(), .and_first = true};
    want(0, size(), masked);
    return true;
  }
  if (block_step_ == 0) {
    // The first token of a block is decided whatever its confidence.
    const bool single_step = !by_threshold() && steps_of_block() == 1;
    selection_ = {.kind = UnmaskSelection::Kind::all};
    want(0, size(), single_step ? masked : std::vector<int32_t>{masked.front()});
    return true;
  }
  if (adaptive()) {
    using Kind = UnmaskSelection::Kind;
    selection_ = {.kind = by_threshold() ? Kind::threshold : Kind::entropy, .count = masked.size()};
  } else {
    const int64_t count =
        unmasked_count(std::ssize(masked), block_step_, steps_of_block(), params_.eps);
    if (count == 0) return false;
    selection_ = {.kind = UnmaskSelection::Kind::surest, .count = static_cast<size_t>(count)};
  }
  if (params_.refresh_every > 0 && cached_passes_ + 1 >= params_.refresh_every) {
    want(0, size(), masked);
  } else {
    want(begin, params_.cache == DiffusionCache::dual ? end : size(), masked);
  }
  return true;
}

// Earlier blocks take what does not divide.
int64_t DiffusionDecoder::steps_of_block() const {
  return params_.steps / blocks_ + (block_ < params_.steps % blocks_ ? 1 : 0);
}

void DiffusionDecoder::want(int64_t first, int64_t end, std::vector<int32_t> positions) {
  const bool whole = first == 0 && end == size();
  cached_passes_ = whole ? 0 : cached_passes_ + 1;
  pass_ = {.first = first,
           .rows = end - first,
           .row_class = whole ? RowClass::prompt : RowClass::generated};
  for (const int32_t position : positions) {
    const int64_t row = position - (shift_logits_ ? 1 : 0) - first;
    pass_.logit_rows.push_back(static_cast<int32_t>(std::max<int64_t>(row, 0)));
  }
  wanted_ = std::move(positions);
}

// ------------------------------------------------------------------------------------ its outcome

float DiffusionDecoder::uniform_at(size_t place, RandomPurpose purpose) const {
  // A position is drawn again in every step until it is decided.
  const uint64_t key = (static_cast<uint64_t>(step_) << 32) | static_cast<uint64_t>(place);
  return uniform(params_.seed, params_.choice, key, purpose);
}

std::vector<int32_t> DiffusionDecoder::by_chance(const std::vector<int32_t>& positions,
                                                 double share) const {
  std::vector<int32_t> chosen;
  for (const int32_t position : positions) {
    const float u = uniform_at(static_cast<size_t>(position), RandomPurpose::unmask);
    if (static_cast<double>(u) < share) chosen.push_back(position);
  }
  return chosen;
}

Confidence DiffusionDecoder::measure() const {
  if (by_threshold()) return Confidence::probability;
  if (params_.cache != DiffusionCache::none) return Confidence::negative_entropy;
  if (params_.algorithm == DiffusionAlgorithm::topk_margin) return Confidence::margin;
  if (params_.algorithm == DiffusionAlgorithm::entropy || by_entropy_bound())
    return Confidence::negative_entropy;
  return Confidence::probability;
}

std::vector<size_t> DiffusionDecoder::select(std::span<const float> confidence) const {
  switch (selection_.kind) {
    case UnmaskSelection::Kind::all:
      return surest(confidence, confidence.size());
    case UnmaskSelection::Kind::threshold:
      return above_threshold(confidence, selection_.count, params_.threshold);
    case UnmaskSelection::Kind::entropy: {
      std::vector<size_t> selected = within_entropy(confidence, params_.entropy_bound);
      if (selection_.and_first && std::ranges::find(selected, size_t{0}) == selected.end())
        selected.push_back(0);
      return selected;
    }
    case UnmaskSelection::Kind::surest:
      break;
  }
  if (params_.alg_temperature == 0.0) return surest(confidence, selection_.count);
  return draw_positions(confidence, selection_.count, params_.alg_temperature, [this](size_t draw) {
    return uniform_at(draw, RandomPurpose::choose_position);
  });
}

Result<void> DiffusionDecoder::accept(std::span<const LogitsView> logits) {
  DUNLIN_CHECK(!finished_ && logits.size() == wanted_.size(), "the logits of another pass");
  const MaskedSamplerParams how{.temperature = params_.temperature,
                                .top_p = params_.top_p,
                                .top_k = params_.top_k,
                                .confidence = measure()};
  std::vector<int32_t> tokens;
  std::vector<float> confidences;
  for (size_t i = 0; i < wanted_.size(); ++i) {
    const float u = uniform_at(static_cast<size_t>(wanted_[i]), RandomPurpose::token);
    DUNLIN_ASSIGN_OR_RETURN(const MaskedToken drawn, sampler_.sample(logits[i], how, u));
    tokens.push_back(drawn.token);
    confidences.push_back(drawn.confidence);
  }
  const std::vector<size_t> selected = select(confidences);
  bool changed = false;
  for (const size_t i : selected) {
    canvas_[static_cast<size_t>(wanted_[i])] = tokens[i];
    changed = changed || tokens[i] != mask_id_;
  }
  // Without this an adaptive algorithm would wait for these positions for ever.
  if (!changed && adaptive()) {
    for (const size_t i : selected) given_up_[static_cast<size_t>(wanted_[i])] = true;
  }
  left_ = static_cast<int64_t>(selection_.count) - std::ssize(selected);
  decided_.push_back(static_cast<int32_t>(selected.size()));
  ++step_;
  ++passes_;
  plan();
  return {};
}

}  // namespace dunlin
