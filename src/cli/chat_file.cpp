#include "cli/chat_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <vector>

#include "artifact/reader.h"
#include "artifact/writer.h"
#include "base/json_document.h"
#include "cli/read_input.h"
#include "engine/session_file.h"

namespace dunlin {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kKind = "conversation";
constexpr const char* kMessages = "messages";
constexpr uint64_t kMostMessageBytes = 64u << 20;
constexpr int kSchemaVersion = 1;
constexpr const char* kNoCacheKey = "cache none\n";

// Nothing of the user's that is not a conversation is overwritten. A damaged one is: to save it again
// is how it is repaired.
Result<void> check_conversation_target(const std::string& path) {
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored) || is_artifact(path, kKind)) return {};
  return runtime_error(fmt::format("{}: is there and is not a saved conversation", path));
}

// The first words of the lines of two keys that differ: "model, precision".
std::string differences(const std::string& saved, const std::string& current) {
  const auto before = text_lines(saved);
  const auto now = text_lines(current);
  std::vector<std::string> names;
  for (size_t i = 0; i < now.size(); ++i) {
    if (i >= before.size() || before[i] != now[i])
      names.push_back(now[i].substr(0, now[i].find(' ')));
  }
  return fmt::format("{}", fmt::join(names, ", "));
}

bool is_message(const Json& value) {
  return value.is_object() && value.contains("role") && value["role"].is_string() &&
         value.contains("content") && value["content"].is_string();
}

Result<Json> read_messages(const ArtifactReader& reader, const std::string& path) {
  DUNLIN_ASSIGN_OR_RETURN(const auto bytes, reader.read(kMessages, kMostMessageBytes));
  const std::string text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  const auto document = parse_ordered_json_object(text, path);
  if (!document.ok()) return runtime_error(document.error().message);
  const Json messages = document->value(kMessages, Json());
  const bool valid = document->value("schema_version", Json()) == kSchemaVersion &&
                     messages.is_array() && std::ranges::all_of(messages, is_message);
  if (!valid) return runtime_error(path + ": the messages are not a conversation");
  return messages;
}

// A file with the messages, to be committed.
Result<ArtifactWriter> write_messages(const std::string& path, const Json& messages,
                                      std::string key) {
  DUNLIN_RETURN_IF_ERROR(check_conversation_target(path));
  DUNLIN_ASSIGN_OR_RETURN(ArtifactWriter writer,
                          ArtifactWriter::create(path, {.kind = kKind, .key = std::move(key)}));
  const Json document = {{"schema_version", kSchemaVersion}, {kMessages, messages}};
  const std::string text = document.dump(-1, ' ', false, Json::error_handler_t::replace);
  DUNLIN_RETURN_IF_ERROR(writer.begin_chunk(kMessages));
  DUNLIN_RETURN_IF_ERROR(writer.append(std::as_bytes(std::span(text))));
  return writer;
}

}  // namespace

Result<ChatFileSummary> save_messages(const std::string& path, const Json& messages) {
  DUNLIN_ASSIGN_OR_RETURN(ArtifactWriter writer, write_messages(path, messages, kNoCacheKey));
  DUNLIN_RETURN_IF_ERROR(writer.commit());
  return ChatFileSummary{.messages = messages.size(), .has_cache = false};
}

Result<ChatFileSummary> load_messages(const std::string& path, Json& messages) {
  DUNLIN_ASSIGN_OR_RETURN(const ArtifactReader reader, ArtifactReader::open(path, kKind));
  DUNLIN_ASSIGN_OR_RETURN(messages, read_messages(reader, path));
  return ChatFileSummary{.messages = messages.size(), .has_cache = false};
}

Result<ChatFileSummary> save_chat(const std::string& path, const Json& messages, SessionId session,
                                  const Engine& engine) {
  DUNLIN_ASSIGN_OR_RETURN(std::string key, session_key(engine));
  DUNLIN_ASSIGN_OR_RETURN(ArtifactWriter writer, write_messages(path, messages, std::move(key)));
  DUNLIN_ASSIGN_OR_RETURN(const int64_t cached, save_session(engine, session, writer));
  DUNLIN_RETURN_IF_ERROR(writer.commit());
  return ChatFileSummary{.messages = messages.size(), .cached = cached};
}

Result<ChatFileSummary> load_chat(const std::string& path, Json& messages, SessionId session,
                                  Engine& engine) {
  DUNLIN_ASSIGN_OR_RETURN(const ArtifactReader reader, ArtifactReader::open(path, kKind));
  DUNLIN_ASSIGN_OR_RETURN(Json loaded, read_messages(reader, path));
  ChatFileSummary summary{.messages = loaded.size()};
  DUNLIN_ASSIGN_OR_RETURN(const std::string key, session_key(engine));
  if (reader.key() != key) {
    summary.why_not_cached = differences(reader.key(), key);
  } else if (has_sequence(reader)) {
    DUNLIN_ASSIGN_OR_RETURN(summary.cached, load_session(engine, session, reader));
  }
  messages = std::move(loaded);
  return summary;
}

}  // namespace dunlin
