#include "engine/diffusion_runner.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace dunlin {
namespace {

Result<void> check_prompt(std::span<const int32_t> prompt, const DiffusionParams& params,
                          const Model& model) {
  if (prompt.empty()) return usage_error("the prompt is empty");
  for (const int32_t id : prompt) {
    if (id < 0 || id >= model.vocabulary) {
      return usage_error(
          fmt::format("token {} of the prompt is outside 0..{}", id, model.vocabulary - 1));
    }
  }
  const int64_t positions = std::ssize(prompt) + std::max<int64_t>(params.max_tokens, 0);
  if (positions > model.limits.context) {
    return usage_error(fmt::format(
        "the prompt has {} tokens and the answer {}; together they do not fit the context of {}",
        prompt.size(), params.max_tokens, model.limits.context));
  }
  return {};
}

// Text could not say where its masks are.
Result<void> check_mask(const Model& model) {
  const Tokenizer* const tokenizer = model.text.tokenizer.get();
  if (tokenizer == nullptr || !tokenizer->token_bytes(model.diffusion->mask_id).empty()) return {};
  return model_error(fmt::format("{}: the tokenizer has no token {}, which is the mask",
                                 model.checkpoint->path(), model.diffusion->mask_id));
}

}  // namespace

DiffusionRunner::DiffusionRunner(Model& model)
    : model_(&model), builder_(model.program, model.limits) {}

Result<DiffusionRunner> DiffusionRunner::create(Model& model) {
  if (!model.diffusion) return usage_error(model.program.model + " is not a diffusion model");
  DUNLIN_RETURN_IF_ERROR(check_mask(model));
  DiffusionRunner runner(model);
  DUNLIN_ASSIGN_OR_RETURN(runner.kv_, make_kv_memory(model, model.limits.sequences));
  return runner;
}

Result<std::unique_ptr<DiffusionCanvas>> DiffusionRunner::open(std::vector<int32_t> prompt,
                                                               const DiffusionParams& params,
                                                               std::optional<int32_t> mask_id) {
  DUNLIN_RETURN_IF_ERROR(check_prompt(prompt, params, *model_));
  DUNLIN_ASSIGN_OR_RETURN(
      DiffusionDecoder decoder,
      DiffusionDecoder::create(std::move(prompt), mask_id.value_or(model_->diffusion->mask_id),
                               model_->diffusion->shift_logits, params));
  if (decoder.masked() > model_->limits.logit_rows) {
    return usage_error(
        fmt::format("the canvas has {} masks, and a step has the logits of {} (max_tokens)",
                    decoder.masked(), model_->limits.logit_rows));
  }
  // The cache knows nothing of the canvas but its pages: every pass writes what it changes, and
  // nothing may be shared, since all keys and values depend on all tokens.
  const int64_t positions = std::ssize(decoder.canvas());
  DUNLIN_ASSIGN_OR_RETURN(const KvCache::Opened opened, kv_.cache->open({}));
  if (const auto reserved = kv_.cache->reserve(opened.slot, positions); !reserved.ok()) {
    kv_.cache->close(opened.slot);
    return reserved.error();
  }
  return std::make_unique<DiffusionCanvas>(
      DiffusionCanvas{.decoder = std::move(decoder), .slot = opened.slot});
}

Result<std::vector<DiffusionCanvas*>> DiffusionRunner::step(
    std::span<DiffusionCanvas* const> canvases) {
  std::vector<DiffusionCanvas*> members;
  int64_t rows = 0;
  int64_t logit_rows = 0;
  builder_.begin();
  for (DiffusionCanvas* const canvas : canvases) {
    if (canvas->over()) continue;
    const DiffusionPass& pass = *canvas->decoder.pending();
    const int64_t wanted = std::ssize(pass.logit_rows);
    if (rows + pass.rows > model_->limits.rows || logit_rows + wanted > model_->limits.logit_rows)
      continue;
    rows += pass.rows;
    logit_rows += wanted;
    const auto tokens = canvas->decoder.canvas().subspan(static_cast<size_t>(pass.first),
                                                         static_cast<size_t>(pass.rows));
    builder_.add_canvas(canvas->slot, tokens, pass.first, std::ssize(canvas->decoder.canvas()),
                        pass.row_class, pass.logit_rows);
    members.push_back(canvas);
  }
  if (members.empty()) return members;
  const StepPlan& plan = builder_.finish(*kv_.cache);
  DUNLIN_RETURN_IF_ERROR(validate(plan, model_->program, model_->limits, *kv_.state));
  model_->executable->run(plan, *kv_.state, output_);
  if (output_.failure) return *output_.failure;

  std::span<const LogitsView> views = output_.logits;
  for (DiffusionCanvas* const canvas : members) {
    const size_t wanted = canvas->decoder.pending()->logit_rows.size();
    if (const auto accepted = canvas->decoder.accept(views.first(wanted)); !accepted.ok())
      canvas->error = accepted.error();
    views = views.subspan(wanted);
  }
  return members;
}

void DiffusionRunner::close(DiffusionCanvas& canvas) {
  if (canvas.slot >= 0) kv_.cache->close(canvas.slot);
  canvas.slot = -1;
}

std::vector<int32_t> diffusion_end_ids(const Model& model) {
  std::vector<int32_t> ids = model.stop_ids;
  const auto add = [&](int64_t id) {
    if (id < model.vocabulary && std::ranges::find(ids, id) == ids.end())
      ids.push_back(static_cast<int32_t>(id));
  };
  if (const auto pad = model.checkpoint->config().integer("pad_token_id", 0, INT32_MAX); pad.ok())
    add(*pad);
  if (model.text.tokenizer != nullptr) {
    for (const char* const name : {"<|dlm_pad|>", "<|endoftext|>", "<|im_end|>"}) {
      if (const auto id = model.text.tokenizer->id_of(name)) add(*id);
    }
  }
  return ids;
}

}  // namespace dunlin
