// The public Engine: loading, the text side, and EngineCore behind it.
#include "engine/engine.h"

#include <new>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <utility>

#include "base/owned_json.h"
#include "engine/engine_core.h"

namespace dunlin {

struct Engine::State {
  std::unique_ptr<Model> owned = {};
  Model* model = nullptr;
  ModelInfo info = {};
  std::unique_ptr<EngineCore> core = {};
};

namespace {

// What runs out of memory is an error, whatever it was about to do.
template <typename F>
auto without_exceptions(F&& f) -> decltype(f()) {
  try {
    return f();
  } catch (const std::bad_alloc&) {
    return out_of_memory();
  } catch (const std::length_error&) {
    return out_of_memory();  // a size that no allocation could have
  }
}

ModelInfo describe(const Model& model) {
  ModelInfo info{.family = model.program.model,
                 .vocabulary = model.vocabulary,
                 .context = model.limits.context,
                 .trained_context = model.trained_context,
                 .stop_ids = model.stop_ids,
                 .has_tokenizer = model.text.tokenizer != nullptr,
                 .has_chat_template = model.text.has_chat_format(),
                 .isa = model.executable->isa(),
                 .threads = model.executable->threads(),
                 .weights_bytes = model.executable->weights_bytes()};
  if (model.checkpoint != nullptr) {
    info.path = model.checkpoint->path();
    info.parameters = parameter_count(*model.checkpoint);
    info.sampling = recommended_sampling(model.checkpoint->config());
  }
  return info;
}

Result<Engine> engine_over(std::unique_ptr<Model> owned, Model& model) {
  auto state = std::make_unique<Engine::State>();
  state->owned = std::move(owned);
  state->model = &model;
  DUNLIN_ASSIGN_OR_RETURN(state->core, EngineCore::create(model));
  state->info = describe(model);
  state->info.kv_bytes = state->core->kv_bytes();
  return Engine(std::move(state));
}

ModelOptions model_options(const LoadOptions& options) {
  ModelOptions all;
  all.backend = options.backend;
  all.device = options.device;
  if (!options.isolate.empty()) all.isolate.emplace().program = options.isolate;
  all.precision = options.precision;
  all.kv_type = options.kv_type;
  all.pack_cache.folder = options.pack_cache;
  all.offload = options.offload;
  all.threads = options.threads;
  all.isa = options.isa;
  all.context = options.context;
  all.sequences = options.sequences;
  all.kv_tokens = options.kv_tokens;
  all.rows = options.rows;
  all.quantize = options.quantize;
  all.progress = options.progress;
  all.autoregressive_for = kTokenStream;
  return all;
}

}  // namespace

Result<Engine> make_engine(Model& model) {
  return without_exceptions([&] { return engine_over(nullptr, model); });
}

Result<Engine> Engine::load(const std::string& path, const LoadOptions& options) {
  return without_exceptions([&]() -> Result<Engine> {
    DUNLIN_ASSIGN_OR_RETURN(auto model, load_model(path, model_options(options)));
    Model& loaded = *model;
    return engine_over(std::move(model), loaded);
  });
}

Engine::Engine(std::unique_ptr<State> state) : state_(std::move(state)) {}
Engine::~Engine() = default;
Engine::Engine(Engine&& other) noexcept = default;
Engine& Engine::operator=(Engine&& other) noexcept = default;

const ModelInfo& Engine::model() const {
  return state_->info;
}

Result<std::vector<int32_t>> Engine::encode(std::string_view text) const {
  return without_exceptions([&] { return state_->model->text.encode_raw(text); });
}

Result<std::vector<int32_t>> Engine::encode_chat(const std::vector<ChatMessage>& messages) const {
  return without_exceptions([&] {
    OwnedJson<nlohmann::ordered_json> json(nlohmann::ordered_json::array());
    for (const ChatMessage& message : messages) {
      auto& entry = json.value.emplace_back(nlohmann::ordered_json::object());
      entry["role"] = message.role;
      entry["content"] = message.content;
    }
    return state_->model->text.encode_chat(std::move(json.value));
  });
}

Result<std::string> Engine::decode(std::span<const int32_t> ids) const {
  return without_exceptions([&]() -> Result<std::string> {
    DUNLIN_ASSIGN_OR_RETURN(const auto tokenizer, state_->model->text.require_tokenizer());
    for (const int32_t id : ids) {
      if (id < 0 || id >= state_->model->vocabulary) {
        return usage_error("token " + std::to_string(id) + " is outside 0.." +
                           std::to_string(state_->model->vocabulary - 1));
      }
    }
    return tokenizer->decode(ids, /*skip_special=*/true);
  });
}

Result<RequestId> Engine::submit(Request request, EventSink sink) {
  return without_exceptions(
      [&] { return state_->core->submit(std::move(request), std::move(sink)); });
}

void Engine::cancel(RequestId request) {
  state_->core->cancel(request);
}

void Engine::end_session(SessionId session) {
  state_->core->end_session(session);
}

bool Engine::step() {
  return state_->core->step();
}

EngineStats Engine::stats() const {
  return state_->core->stats();
}

Result<std::string> session_key(const Engine& engine) {
  return engine.state().core->session_key();
}

Result<int64_t> save_session(const Engine& engine, SessionId session, ArtifactWriter& writer) {
  return engine.state().core->save_session(session, writer);
}

Result<int64_t> load_session(Engine& engine, SessionId session, const ArtifactReader& reader) {
  return engine.state().core->load_session(session, reader);
}

}  // namespace dunlin
