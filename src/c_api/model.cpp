// The C API's loading of models, and text to token ids and back.
#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "c_api/handle.h"
#include "c_api/sized_struct.h"

namespace dunlin {
namespace {

std::optional<Precision> precision_of(int32_t number) {
  switch (number) {
    case DUNLIN_PRECISION_AUTO:
      return Precision::automatic;
    case DUNLIN_PRECISION_EXACT:
      return Precision::exact;
    case DUNLIN_PRECISION_INT8:
      return Precision::int8;
    case DUNLIN_PRECISION_F32:
      return Precision::f32;
    case DUNLIN_PRECISION_FAST:
      return Precision::fast;
    default:
      return std::nullopt;
  }
}

// False: an unknown number.
bool read_kv_type(int32_t number, std::optional<KvType>& type) {
  switch (number) {
    case DUNLIN_KV_AUTO:
      type.reset();
      return true;
    case DUNLIN_KV_BF16:
      type = KvType::bf16;
      return true;
    case DUNLIN_KV_F32:
      type = KvType::f32;
      return true;
    case DUNLIN_KV_INT8:
      type = KvType::int8;
      return true;
    default:
      return false;
  }
}

Result<LoadOptions> load_options(const dunlin_load_options* given) {
  LoadOptions options;
  if (given == nullptr) return options;
  dunlin_load_options fields = {};
  if (!read_struct(given, fields)) return Error{ErrorKind::usage, kStruct};
  const auto precision = precision_of(fields.precision);
  if (!precision)
    return Error{ErrorKind::usage, "precision " + std::to_string(fields.precision) + " is unknown"};
  options.precision = *precision;
  if (!read_kv_type(fields.kv_type, options.kv_type))
    return Error{ErrorKind::usage, "kv_type " + std::to_string(fields.kv_type) + " is unknown"};
  if (fields.backend != nullptr) options.backend = fields.backend;
  if (fields.isa != nullptr) options.isa = fields.isa;
  options.threads = fields.threads;
  options.context = fields.context;
  if (fields.sequences != 0) options.sequences = fields.sequences;
  options.kv_tokens = fields.kv_tokens;
  if (fields.rows != 0) options.rows = fields.rows;
  if (fields.pack_cache != nullptr) options.pack_cache = fields.pack_cache;
  options.offload = fields.offload != 0;
  if (fields.device != nullptr) options.device = fields.device;
  if (fields.isolate != nullptr) options.isolate = fields.isolate;
  if (fields.progress != nullptr) {
    options.progress = [call = fields.progress, user = fields.progress_user](
                           double fraction, const std::string& what) {
      call(user, fraction, what.c_str());
    };
  }
  return options;
}

// The values as the caller's buffer takes them; *count is its capacity, then their number.
template <typename Values, typename T>
dunlin_status store(const Values& values, T* into, size_t* count) {
  if (into == nullptr && *count > 0) return usage(kNull);
  const size_t capacity = std::exchange(*count, values.size());
  if (capacity < values.size()) {
    return failed(DUNLIN_ERROR_BUFFER, "the buffer holds " + std::to_string(capacity) + " of " +
                                           std::to_string(values.size()));
  }
  std::copy(values.begin(), values.end(), into);
  return DUNLIN_OK;
}

}  // namespace
}  // namespace dunlin

using namespace dunlin;

dunlin_status dunlin_engine_load(const char* path, const dunlin_load_options* options,
                                 dunlin_engine** engine) {
  return without_exceptions([&] {
    if (path == nullptr || engine == nullptr) return usage(kNull);
    *engine = nullptr;
    const auto chosen = load_options(options);
    if (!chosen.ok()) return failed(chosen.error());
    auto loaded = Engine::load(path, *chosen);
    if (!loaded.ok()) return failed(loaded.error());
    *engine = std::make_unique<dunlin_engine>(*std::move(loaded)).release();
    return dunlin_status{DUNLIN_OK};
  });
}

void dunlin_engine_free(dunlin_engine* engine) {
  delete engine;
}

dunlin_status dunlin_get_model_info(const dunlin_engine* engine, dunlin_model_info* info) {
  if (engine == nullptr || info == nullptr) return usage(kNull);
  const ModelInfo& model = engine->engine.model();
  const dunlin_model_info fields = {.struct_size = sizeof(dunlin_model_info),
                                    .vocabulary = model.vocabulary,
                                    .context = model.context,
                                    .trained_context = model.trained_context,
                                    .parameters = model.parameters,
                                    .weights_bytes = model.weights_bytes,
                                    .kv_bytes = model.kv_bytes,
                                    .threads = model.threads,
                                    .has_tokenizer = model.has_tokenizer,
                                    .has_chat_template = model.has_chat_template,
                                    .reserved = 0};
  return write_struct(fields, info) ? dunlin_status{DUNLIN_OK} : usage(kStruct);
}

dunlin_status dunlin_encode(const dunlin_engine* engine, const char* text, size_t size,
                            int32_t* ids, size_t* count) {
  return without_exceptions([&] {
    if (engine == nullptr || count == nullptr || (text == nullptr && size > 0)) return usage(kNull);
    const auto encoded = engine->engine.encode({text, size});
    return encoded.ok() ? store(*encoded, ids, count) : failed(encoded.error());
  });
}

dunlin_status dunlin_encode_chat(const dunlin_engine* engine, const dunlin_message* messages,
                                 size_t message_count, int32_t* ids, size_t* count) {
  return without_exceptions([&] {
    if (engine == nullptr || count == nullptr || (messages == nullptr && message_count > 0))
      return usage(kNull);
    std::vector<ChatMessage> conversation;
    for (size_t i = 0; i < message_count; ++i) {
      if (messages[i].role == nullptr || messages[i].content == nullptr) return usage(kNull);
      conversation.push_back({messages[i].role, messages[i].content});
    }
    const auto encoded = engine->engine.encode_chat(conversation);
    return encoded.ok() ? store(*encoded, ids, count) : failed(encoded.error());
  });
}

dunlin_status dunlin_decode(const dunlin_engine* engine, const int32_t* ids, size_t count,
                            char* text, size_t* size) {
  return without_exceptions([&] {
    if (engine == nullptr || size == nullptr || (ids == nullptr && count > 0)) return usage(kNull);
    const auto decoded = engine->engine.decode({ids, count});
    return decoded.ok() ? store(*decoded, text, size) : failed(decoded.error());
  });
}
