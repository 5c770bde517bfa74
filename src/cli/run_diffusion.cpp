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
#include "cli/diffusion_view.h"
#include "cli/interrupt.h"
#include "cli/terminal.h"
#include "engine/diffusion_runner.h"
#include "engine/stop_matcher.h"
#include "tokenizer/stream_decoder.h"

namespace dunlin {
namespace {

using Json = nlohmann::ordered_json;
using Clock = std::chrono::steady_clock;

struct Job {
  std::unique_ptr<DiffusionCanvas> canvas = {};  // while it runs
  Clock::time_point started = {};
  Answer answer = {};
  int64_t forward_passes = 0;
};

double per(int64_t count, double of) {
  return of > 0 ? static_cast<double>(count) / of : 0.0;
}

// What a line of a batch may set, as the settings of a chat.
ChatSettings settings_of(const DiffusionParams& params) {
  ChatSettings settings{.max_tokens = params.max_tokens};
  settings.sampling.temperature = params.temperature;
  settings.sampling.top_k = params.top_k;
  settings.sampling.top_p = params.top_p;
  settings.sampling.seed = params.seed;
  return settings;
}

Result<void> apply(const Prompt& prompt, const Model& model, bool steps_follow_tokens,
                   DiffusionParams& params) {
  const ChatSettings before = settings_of(params);
  ChatSettings settings = before;
  for (const auto& [name, value] : prompt.settings)
    DUNLIN_RETURN_IF_ERROR(settings.set(name, value, model.vocabulary));
  const SamplingParams& sampling = settings.sampling;
  if (sampling.min_p != before.sampling.min_p ||
      sampling.repeat_penalty != before.sampling.repeat_penalty ||
      sampling.repeat_last_n != before.sampling.repeat_last_n ||
      sampling.frequency_penalty != before.sampling.frequency_penalty ||
      sampling.presence_penalty != before.sampling.presence_penalty) {
    return usage_error("min-p and penalties have no meaning for a diffusion model");
  }
  params.temperature = sampling.temperature;
  params.top_k = sampling.top_k;
  params.top_p = sampling.top_p;
  params.seed = sampling.seed;
  params.max_tokens = settings.max_tokens < 0 ? before.max_tokens : settings.max_tokens;
  if (steps_follow_tokens) params.steps = std::max<int64_t>(1, params.max_tokens);
  return {};
}

class Runner {
 public:
  Runner(const PromptBatch& batch, const DiffusionRunOptions& options, Model& model,
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
      print_timings(jobs_.front());
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
    // Without an early exit the answer is cut all the same.
    if (options_.early_exit) params.end_ids = end_ids_;
    job.answer.seed = params.seed;
    DUNLIN_ASSIGN_OR_RETURN(job.canvas, runner_.open(job.answer.prompt_ids, params));
    job.started = Clock::now();
    return {};
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

  std::span<const int32_t> behind_prompt(const DiffusionDecoder& decoder) const {
    return decoder.canvas().subspan(static_cast<size_t>(decoder.prompt_size()));
  }

  void show(size_t index) {
    const DiffusionDecoder& decoder = jobs_[index].canvas->decoder;
    const auto ids = behind_prompt(decoder);
    if (options_.stream) {
      const Json line = {{"schema_version", 1},
                         {"index", index},
                         {"step", decoder.decided().size()},
                         {"forward_passes", decoder.forward_passes()},
                         {"masked", decoder.masked()},
                         {"ids", std::vector<int32_t>(ids.begin(), ids.end())},
                         {"text", canvas_text(ids, mask_id(), model_.text.tokenizer.get())}};
      write_stdout(json_line(line) + "\n");
    }
    if (index != next_) return;
    const auto all = static_cast<double>(std::max<size_t>(1, decoder.canvas().size()));
    bar_.update(1.0 - static_cast<double>(decoder.masked()) / all, "filling in");
    view_.draw(fmt::format("step {}, {} forward passes, {} masks left", decoder.decided().size(),
                           decoder.forward_passes(), decoder.masked()),
               canvas_text(ids, mask_id(), model_.text.tokenizer.get()));
  }

  int32_t mask_id() const { return model_.diffusion->mask_id; }

  void finish(size_t index) {
    Job& job = jobs_[index];
    const DiffusionDecoder& decoder = job.canvas->decoder;
    Answer& answer = job.answer;
    const auto ids = behind_prompt(decoder);
    const auto end = std::ranges::find_first_of(ids, end_ids_);
    const bool stopped = take_text(ids.first(static_cast<size_t>(end - ids.begin())),
                                   batch_.prompts[index]->stop.value_or(options_.stop), answer);
    answer.reason = stopped || end != ids.end() ? FinishReason::stop : FinishReason::length;
    answer.error = job.canvas->error;
    answer.stats.prompt_tokens = decoder.prompt_size();
    answer.stats.predicted_tokens = std::ssize(answer.ids);
    answer.stats.predicted_ms =
        std::chrono::duration<double, std::milli>(Clock::now() - job.started).count();
    answer.done = true;
    job.forward_passes = decoder.forward_passes();
    runner_.close(*job.canvas);
    job.canvas.reset();
  }

  // Ids and text up to a stop string; true: there was one.
  bool take_text(std::span<const int32_t> ids, const std::vector<std::string>& stop,
                 Answer& answer) const {
    if (model_.text.tokenizer == nullptr) {
      answer.ids.assign(ids.begin(), ids.end());
      return false;
    }
    StreamDecoder text(model_.text.tokenizer, /*skip_special=*/true);
    StopMatcher stops(stop);
    for (const int32_t id : ids) {
      const auto output = stops.feed(text.feed(id));
      answer.text += output.text;
      answer.ids.push_back(id);
      if (output.stopped) return true;
    }
    const auto rest = stops.feed(text.flush());
    answer.text += rest.text + stops.flush();
    return rest.stopped;
  }

  void print_ready() {
    for (; next_ < jobs_.size() && jobs_[next_].answer.done; ++next_) {
      bar_.clear();
      view_.clear();
      Job& job = jobs_[next_];
      if (job.answer.error.has_value()) {
        print_error(*job.answer.error);
      } else if (options_.json) {
        write_stdout(json_line(json_of(job)) + "\n");
      } else {
        print_text(job.answer);
      }
      if (jobs_.size() > 1) job = Job();  // its memory
    }
  }

  void print_text(const Answer& answer) const {
    if (model_.text.tokenizer == nullptr) {
      write_stdout(fmt::format("{}\n", fmt::join(answer.ids, ",")));
    } else {
      write_stdout(answer.text + "\n");
    }
  }

  Json json_of(const Job& job) const {
    const RequestStats& stats = job.answer.stats;
    Json json = answer_json(job.answer, model_);
    // All tokens come at once: none of them is the prompt's.
    json["timings"]["predicted_per_second"] = per(stats.predicted_tokens, stats.predicted_ms / 1e3);
    json["forward_passes"] = job.forward_passes;
    json["tokens_per_forward"] =
        per(stats.predicted_tokens, static_cast<double>(job.forward_passes));
    return json;
  }

  void print_timings(const Job& job) const {
    const RequestStats& stats = job.answer.stats;
    note(
        "answer   {} tokens in {:.0f} ms ({:.1f} per second), {} forward passes ({:.2f} tokens per "
        "forward)\n",
        stats.predicted_tokens, stats.predicted_ms,
        per(stats.predicted_tokens, stats.predicted_ms / 1e3), job.forward_passes,
        per(stats.predicted_tokens, static_cast<double>(job.forward_passes)));
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
  return Runner(batch, options, model, std::move(runner)).run();
}

}  // namespace dunlin
