#include "cli/run_diffusion.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <utility>

#include "cli/answer.h"
#include "cli/chat_settings.h"
#include "cli/diffusion_answer.h"
#include "cli/diffusion_view.h"
#include "cli/interrupt.h"
#include "cli/terminal.h"
#include "engine/diffusion_runner.h"

namespace dunlin {
namespace {

using Json = nlohmann::ordered_json;
using Clock = std::chrono::steady_clock;

struct Job {
  std::unique_ptr<DiffusionCanvas> canvas = {};  // while it runs
  Clock::time_point started = {};
  Answer answer = {};
};

// What a line of a batch changes.
Result<void> apply(const Prompt& prompt, const Model& model, bool steps_follow_tokens,
                   DiffusionParams& params) {
  ChatSettings settings = settings_of(params);
  for (const auto& [name, value] : prompt.settings)
    DUNLIN_RETURN_IF_ERROR(settings.set(name, value, model.vocabulary));
  take_settings(settings, steps_follow_tokens, params);
  return {};
}

class CanvasRun {
 public:
  CanvasRun(const PromptBatch& batch, const DiffusionRunOptions& options, Model& model,
            DiffusionRunner runner)
      : batch_(batch),
        options_(options),
        model_(model),
        runner_(std::move(runner)),
        end_ids_(options.ignore_eos ? std::vector<int32_t>() : diffusion_end_ids(model)),
        jobs_(batch.prompts.size()),
        bar_(!options.quiet && !options.visual),
        view_(options.visual) {}

  Result<int> run() {
    const Watch* const watch = model_.options.watch.get();
    while (next_ < jobs_.size() && pending_interrupt() == 0 && stdout_is_intact()) {
      start_some();
      DUNLIN_RETURN_IF_ERROR(step());
      if (watch != nullptr && watch->hit()) return *watch->hit();
      print_ready();
    }
    bar_.clear();
    view_.clear();
    if (pending_interrupt() != 0) return exit_code_of_signal(pending_interrupt());
    if (!options_.quiet && !options_.json && jobs_.size() == 1 && exit_code_ == 0)
      note("{}", timings_text(jobs_.front().answer));
    return exit_code_;
  }

 private:
  void start_some() {
    while (started_ < jobs_.size() && std::cmp_less(running_.size(), model_.limits.sequences)) {
      Job& job = jobs_[started_];
      if (const auto opened = start(batch_.prompts[started_], job); !opened.ok()) {
        job.answer.error = opened.error();
        job.answer.done = true;
      } else {
        running_.push_back(started_);
      }
      ++started_;
    }
  }

  Result<void> start(const Result<Prompt>& prompt, Job& job) {
    if (!prompt.ok()) return prompt.error();
    DUNLIN_ASSIGN_OR_RETURN(job.answer.prompt_ids,
                            encode_prompt(*prompt, model_.text, options_.format));
    if (!prompt->stop.value_or(options_.stop).empty() && model_.text.tokenizer == nullptr)
      return usage_error("stop strings need a tokenizer, which this model does not have");
    DiffusionParams params = options_.params;
    DUNLIN_RETURN_IF_ERROR(apply(*prompt, model_, options_.steps_follow_tokens, params));
    // One step for each mask, those of the prompt among them.
    if (options_.steps_follow_tokens)
      params.steps = std::max<int64_t>(1, params.max_tokens + masks_of(job.answer.prompt_ids));
    // Without an early exit the answer is cut all the same.
    if (options_.early_exit) params.end_ids = end_ids_;
    job.answer.seed = params.seed;
    DUNLIN_ASSIGN_OR_RETURN(job.canvas, runner_.open(job.answer.prompt_ids, params));
    job.started = Clock::now();
    return {};
  }

  int64_t masks_of(const std::vector<int32_t>& ids) const {
    return std::ranges::count(ids, model_.diffusion->mask_id);
  }

  Result<void> step() {
    std::vector<DiffusionCanvas*> canvases;
    for (const size_t index : running_) canvases.push_back(jobs_[index].canvas.get());
    DUNLIN_ASSIGN_OR_RETURN(const auto advanced, runner_.step(canvases));
    for (const size_t index : running_) {
      if (std::ranges::find(advanced, jobs_[index].canvas.get()) != advanced.end()) show(index);
    }
    std::erase_if(running_, [this](size_t index) {
      Job& job = jobs_[index];
      if (!job.canvas->over()) return false;
      finish(index);
      return true;
    });
    return {};
  }

  void show(size_t index) {
    const DiffusionDecoder& decoder = jobs_[index].canvas->decoder;
    if (options_.stream) write_stdout(json_line(canvas_json(index, decoder, model_)) + "\n");
    if (index != next_) return;
    const auto all = static_cast<double>(std::max<size_t>(1, decoder.canvas().size()));
    bar_.update(1.0 - static_cast<double>(decoder.masked()) / all, "filling in");
    view_.draw(canvas_title(decoder), canvas_text(behind_prompt(decoder), model_.diffusion->mask_id,
                                                  model_.text.tokenizer.get()));
  }

  void finish(size_t index) {
    Job& job = jobs_[index];
    const std::chrono::duration<double, std::milli> took = Clock::now() - job.started;
    take_answer(*job.canvas, end_ids_, batch_.prompts[index]->stop.value_or(options_.stop),
                took.count(), model_, job.answer);
    runner_.close(*job.canvas);
    job.canvas.reset();
  }

  void print_ready() {
    for (; next_ < jobs_.size() && jobs_[next_].answer.done; ++next_) {
      bar_.clear();
      view_.clear();
      Job& job = jobs_[next_];
      if (job.answer.error.has_value()) {
        print_error(*job.answer.error);
      } else if (options_.json) {
        write_stdout(json_line(answer_json(job.answer, model_)) + "\n");
      } else {
        print_text(job.answer);
      }
      if (jobs_.size() > 1) job = Job();  // its memory
    }
  }

  // A prompt that had masks is what was asked for.
  void print_text(const Answer& answer) const {
    if (model_.text.tokenizer == nullptr) {
      std::vector<int32_t> ids = answer.infilled_ids;
      ids.insert(ids.end(), answer.ids.begin(), answer.ids.end());
      write_stdout(fmt::format("{}\n", fmt::join(ids, ",")));
    } else {
      write_stdout(answer.infilled_text + answer.text + "\n");
    }
  }

  void print_error(const Error& error) {
    const Result<Prompt>& prompt = batch_.prompts[next_];
    // A line that is no prompt has its name already.
    const Error named = prompt.ok() && batch_.is_batch ? error.with_context(prompt->where) : error;
    const int code = static_cast<int>(named.kind);
    if (exit_code_ == 0) exit_code_ = code;
    if (batch_.is_batch && options_.json) {
      const Json line = {{"schema_version", 1},
                         {"index", next_},
                         {"error", {{"message", named.message}, {"code", code}}}};
      write_stdout(json_line(line) + "\n");
      return;
    }
    if (batch_.is_batch) write_stdout("\n");  // the answer's line, so that answers can be counted
    report_error(named);
  }

  const PromptBatch& batch_;
  const DiffusionRunOptions& options_;
  Model& model_;
  DiffusionRunner runner_;
  std::vector<int32_t> end_ids_;
  std::vector<Job> jobs_;
  std::vector<size_t> running_ = {};  // numbers of jobs, oldest first
  size_t started_ = 0;
  size_t next_ = 0;  // the answer that is printed next
  int exit_code_ = 0;
  ProgressBar bar_;
  DiffusionView view_;
};

}  // namespace

Result<int> run_diffusion(const PromptBatch& batch, const DiffusionRunOptions& options,
                          Model& model) {
  DUNLIN_ASSIGN_OR_RETURN(DiffusionRunner runner, DiffusionRunner::create(model));
  catch_interrupts();
  return CanvasRun(batch, options, model, std::move(runner)).run();
}

}  // namespace dunlin
