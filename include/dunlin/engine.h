// Engine: a model that answers requests, many at a time.
//
//     auto engine = dunlin::Engine::load("model.gguf");
//     if (!engine.ok()) return report(engine.error());
//     auto prompt = engine->encode_chat({{"user", "Why is the sky blue?"}});
//     engine->submit({.prompt = *prompt},
//                    [](const dunlin::Event& event) { std::cout << event.text; });
//     engine->run_until_idle();
//
// One thread at a time owns step(); the rest may be called from any thread, and from events. The
// engine is destroyed, moved from or assigned to when all other calls have returned, never by an
// event; one that was moved from can only be destroyed or assigned to. Requests that wait or run are
// dropped with their engine, without another event. What can go wrong is a Result or an event.
// Functions that return no Result throw nothing but std::bad_alloc, and step() what a sink or sampler
// of the caller threw.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <dunlin/export.h>
#include <dunlin/kv_type.h>
#include <dunlin/precision.h>
#include <dunlin/request.h>
#include <dunlin/result.h>

namespace dunlin {

struct LoadOptions {
  std::string backend = "cpu";  // or "reference", a slow oracle, or "pjrt"
  std::string device = {};  // of pjrt: cpu-xla, tpu, gpu, or the path of a plug-in; empty: cpu-xla
  // Of pjrt: the path of the program `dunlin`, of this library's build. The plug-in then runs in a
  // process of it, so that one that crashes, is killed or gives no answer for 600 s (to compile 3600 s)
  // is an error of kind device, and this process goes on. Empty: it is loaded into this process.
  std::string isolate = {};
  Precision precision = Precision::automatic;
  // What keys and values are kept as; nothing: float32 with Precision::f32, which goes with nothing
  // else, otherwise bf16. int8 takes about half the memory of bf16.
  std::optional<KvType> kv_type = std::nullopt;
  int threads = 0;  // 0: one per core this process may use
  // scalar, avx2, avx512, amx; on ARM scalar, neon, dotprod, i8mm. Empty: DUNLIN_ISA, or the best
  // there is.
  std::string isa = {};
  int64_t context = 0;    // positions of one sequence; 0: the model's, at most 8192
  int64_t sequences = 1;  // at a time
  // Positions that the KV cache holds for all sequences together; 0: the full context of each. When
  // it is full, sequences wait for each other.
  int64_t kv_tokens = 0;
  int64_t rows = 512;  // of one step: the chunk of a prompt
  // A type of `dunlin quantize` ("Q4_K_M"): the matrices of an F32, F16 or BF16 model are encoded
  // in it while they are read. Empty: they stay as they are.
  std::string quantize = {};
  // A folder for the weights of large models as the cpu back end packs them, made when it is needed: the
  // next load of the same model reads or maps them there. They are written while the engine answers, and
  // its end waits for that. It holds 64 GB at most; nothing about it is an error of the load. Empty:
  // nothing is kept.
  std::string pack_cache = {};
  // Of the cpu back end: weights are mapped, and memory need not hold all of them; layers and experts that
  // do not fit are read while the model runs, with the same bits. They are those of a prepared directory,
  // or of `pack_cache`, which the first load packs them into and without which this is an error (kind
  // usage). DUNLIN_MEMORY_BUDGET=6G sets what may be in memory.
  bool offload = false;
  std::function<void(double fraction, const std::string& what)> progress = {};
};

struct ModelInfo {
  std::string path = {};
  std::string family = {};  // "llama"
  int64_t parameters = 0;
  int64_t vocabulary = 0;       // ids are 0..vocabulary - 1
  int64_t context = 0;          // positions of one sequence, as loaded
  int64_t trained_context = 0;  // that the model was trained for
  std::vector<int32_t> stop_ids = {};
  bool has_tokenizer = false;  // false: the model runs on token ids alone
  bool has_chat_template = false;
  SamplingParams sampling = {};  // what the model's authors recommend, over the built-in values
  std::string isa = {};
  int threads = 0;
  uint64_t weights_bytes = 0;  // in memory
  uint64_t kv_bytes = 0;
};

struct ChatMessage {
  std::string role = {};  // "system", "user", "assistant"
  std::string content = {};
};

struct EngineStats {
  int64_t steps = 0;
  int64_t preemptions = 0;  // of sequences that gave up their pages and were computed again
};

class DUNLIN_API Engine {
 public:
  // A Hugging Face directory, a .gguf file or a prepared directory (docs/formats.md). Errors: kind
  // model names the file and what is wrong with it, usage is an option (a context beyond the model's,
  // for one) or a masked diffusion model, does_not_fit memory.
  static Result<Engine> load(const std::string& path, const LoadOptions& options = {});
  ~Engine();
  Engine(Engine&& other) noexcept;
  Engine& operator=(Engine&& other) noexcept;

  const ModelInfo& model() const;

  // Text and ids. Errors: kind model without a tokenizer (or, for a conversation, a chat template).
  //
  // A text that goes to the model as it is: special tokens are recognised, and the bos token comes
  // first where the model expects one.
  Result<std::vector<int32_t>> encode(std::string_view text) const;
  // A conversation in the model's chat format (its template, or Harmony), ready for the assistant's
  // answer. Only the format's own words become special tokens.
  Result<std::vector<int32_t>> encode_chat(const std::vector<ChatMessage>& messages) const;
  // Special tokens give no text; bytes that are no UTF-8 become U+FFFD. Errors (kind usage): an id
  // outside the vocabulary.
  Result<std::string> decode(std::span<const int32_t> ids) const;

  // Queues a request. Errors (kind usage): an empty prompt, an id outside the vocabulary, a prompt
  // that leaves no room in the context, a parameter out of range, stop strings without a tokenizer.
  Result<RequestId> submit(Request request, EventSink sink);
  // No event of the request follows, but for one that is being sent by another thread right now; at
  // the next step its pages are free. An id that is unknown or finished is ignored.
  void cancel(RequestId request);
  // Gives back what the session holds; its requests that wait or run now finish without leaving
  // anything.
  void end_session(SessionId session);

  // Runs one step of the model over whatever is ready. False: nothing was left to do. What a sink or
  // custom sampler threw is thrown again when the step is complete; its request is gone. No sink may
  // call it.
  bool step();
  void run_until_idle() {
    while (step()) {
    }
  }

  EngineStats stats() const;  // for the owner of step()

  // Internal: engines are made by load().
  struct State;
  explicit Engine(std::unique_ptr<State> state);
  State& state() const { return *state_; }

 private:
  std::unique_ptr<State> state_;
};

}  // namespace dunlin
