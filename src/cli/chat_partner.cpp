#include "cli/chat_partner.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <utility>
#include <vector>

#include "cli/chat.h"
#include "cli/diffusion_answer.h"
#include "cli/diffusion_view.h"
#include "cli/terminal.h"
#include "engine/diffusion_runner.h"
#include "engine/engine.h"

namespace dunlin {
namespace {

using Json = nlohmann::ordered_json;
using Clock = std::chrono::steady_clock;

constexpr SessionId kSession = 1;

class TokenPartner : public ChatPartner {
 public:
  TokenPartner(const ChatOptions& options, Engine engine)
      : options_(options), engine_(std::move(engine)) {}

  Result<bool> generate(const ChatSettings& settings, const std::function<bool()>& go_on,
                        Answer& answer) override {
    DUNLIN_ASSIGN_OR_RETURN(const RequestId id, engine_.submit({.prompt = answer.prompt_ids,
                                                                .sampling = settings.sampling,
                                                                .max_tokens = settings.max_tokens,
                                                                .stop_ids = {},
                                                                .stop = options_.stop,
                                                                .ignore_eos = options_.ignore_eos,
                                                                .session = kSession},
                                                               [&answer](const Event& event) {
                                                                 answer.receive(event);
                                                               }));
    bool more = true;
    while (more && go_on()) more = engine_.step();
    if (!more) return true;
    // The next step takes the request out.
    engine_.cancel(id);
    engine_.step();
    return false;
  }

  Result<ChatFileSummary> save(const std::string& path, const Json& messages) override {
    return save_chat(path, messages, kSession, engine_);
  }
  Result<ChatFileSummary> load(const std::string& path, Json& messages) override {
    return load_chat(path, messages, kSession, engine_);
  }

 private:
  const ChatOptions& options_;
  Engine engine_;
};

class CanvasPartner : public ChatPartner {
 public:
  CanvasPartner(const ChatOptions& options, CanvasChatOptions canvas, Model& model,
                DiffusionRunner runner)
      : options_(options),
        canvas_options_(std::move(canvas)),
        model_(model),
        runner_(std::move(runner)),
        end_ids_(options.ignore_eos ? std::vector<int32_t>() : diffusion_end_ids(model)),
        bar_(!canvas_options_.quiet && !canvas_options_.visual),
        view_(canvas_options_.visual) {}

  Result<bool> generate(const ChatSettings& settings, const std::function<bool()>& go_on,
                        Answer& answer) override {
    DiffusionParams params = canvas_options_.params;
    take_settings(settings, canvas_options_.steps_follow_tokens, params);
    DUNLIN_RETURN_IF_ERROR(check_length(params.max_tokens));
    if (canvas_options_.early_exit) params.end_ids = end_ids_;
    DUNLIN_ASSIGN_OR_RETURN(const std::unique_ptr<DiffusionCanvas> canvas,
                            runner_.open(answer.prompt_ids, params));
    const auto start = Clock::now();
    const Result<void> filled = fill_in(*canvas, go_on);
    bar_.clear();
    view_.clear();
    runner_.close(*canvas);
    if (!filled.ok()) return filled.error();
    const std::chrono::duration<double, std::milli> took = Clock::now() - start;
    take_answer(*canvas, end_ids_, options_.stop, took.count(), model_, answer);
    if (answer.done) ++answers_;
    return answer.done;
  }

  Result<ChatFileSummary> save(const std::string& path, const Json& messages) override {
    return save_messages(path, messages);
  }
  Result<ChatFileSummary> load(const std::string& path, Json& messages) override {
    return load_messages(path, messages);
  }

 private:
  // The memory for logits was taken when the model was loaded.
  Result<void> check_length(int64_t tokens) const {
    const int64_t most = std::max(model_.options.new_tokens, kDefaultNewTokens);
    if (tokens <= most) return {};
    return usage_error(fmt::format(
        "max-tokens {}: this chat has memory for answers of {} tokens; begin it with -n {}", tokens,
        most, tokens));
  }

  Result<void> fill_in(DiffusionCanvas& canvas, const std::function<bool()>& go_on) {
    const std::array<DiffusionCanvas*, 1> canvases = {&canvas};
    while (!canvas.over() && go_on()) {
      DUNLIN_ASSIGN_OR_RETURN(const auto advanced, runner_.step(canvases));
      if (!advanced.empty()) show(canvas.decoder);
    }
    return {};
  }

  void show(const DiffusionDecoder& decoder) {
    if (canvas_options_.stream)
      write_stdout(json_line(canvas_json(answers_, decoder, model_)) + "\n");
    const auto all = static_cast<double>(std::max<size_t>(1, decoder.canvas().size()));
    bar_.update(1.0 - static_cast<double>(decoder.masked()) / all, "filling in");
    view_.draw(canvas_title(decoder), canvas_text(behind_prompt(decoder), model_.diffusion->mask_id,
                                                  model_.text.tokenizer.get()));
  }

  const ChatOptions& options_;
  CanvasChatOptions canvas_options_;
  Model& model_;
  DiffusionRunner runner_;
  std::vector<int32_t> end_ids_;
  ProgressBar bar_;
  DiffusionView view_;
  size_t answers_ = 0;
};

}  // namespace

Result<std::unique_ptr<ChatPartner>> make_token_partner(const ChatOptions& options, Model& model) {
  DUNLIN_ASSIGN_OR_RETURN(Engine engine, make_engine(model));
  return std::unique_ptr<ChatPartner>(std::make_unique<TokenPartner>(options, std::move(engine)));
}

Result<std::unique_ptr<ChatPartner>> make_canvas_partner(const ChatOptions& options,
                                                         CanvasChatOptions canvas, Model& model) {
  DUNLIN_ASSIGN_OR_RETURN(DiffusionRunner runner, DiffusionRunner::create(model));
  return std::unique_ptr<ChatPartner>(
      std::make_unique<CanvasPartner>(options, std::move(canvas), model, std::move(runner)));
}

}  // namespace dunlin
