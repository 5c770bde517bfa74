// Messages of a Harmony conversation, the chat format of GPT-OSS
// (https://github.com/openai/harmony, docs/format.md).
//
//     <|start|>assistant to=functions.f<|channel|>commentary <|constrain|>json<|message|>{}<|call|>
//              role recipient                    channel                 type           content
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace dunlin::harmony {

enum class Role : uint8_t { system, developer, user, assistant, tool };
std::string_view role_name(Role role);
std::optional<Role> role_of(std::string_view name);

enum class ReasoningEffort : uint8_t { low, medium, high };
std::string_view effort_name(ReasoningEffort effort);
std::optional<ReasoningEffort> effort_of(std::string_view name);

// Channels of the assistant's messages.
inline constexpr std::string_view kAnalysis = "analysis";  // thoughts
inline constexpr std::string_view kCommentary =
    "commentary";                                    // calls of tools, and what leads to them
inline constexpr std::string_view kFinal = "final";  // the answer

// What stands between <|start|> and <|message|>. A text that is empty is not there.
struct Header {
  Role role = Role::assistant;
  std::string name = {};  // of a tool "functions.f", its only name; of others "bob" in "user:bob"
  std::string recipient = {};  // "functions.f", "assistant"
  std::string channel = {};
  std::string content_type = {};  // "json"
  bool constrained = false;       // <|constrain|> stands before the type

  bool operator==(const Header&) const = default;
};

// Whether the message is what a person asked for: the assistant's on the channel `final`, or one
// that names neither channel nor recipient.
bool is_answer(const Header& header);

struct Tool {
  std::string name = {};
  std::string description = {};  // of any number of lines
  std::optional<std::string> parameters =
      std::nullopt;  // a type (schema_type.h); absent: it takes none
};

// Tools are called as NAMESPACE.TOOL. Those of a user's program belong to "functions".
struct ToolNamespace {
  std::string name = {};
  std::string description = {};
  std::vector<Tool> tools = {};
};
inline constexpr std::string_view kFunctions = "functions";

// The system message: not what users call system prompt, but what the model was trained to read
// first.
struct SystemContent {
  std::optional<std::string> identity =
      "You are ChatGPT, a large language model trained by OpenAI.";
  std::optional<std::string> knowledge_cutoff = "2024-06";
  std::optional<std::string> date = std::nullopt;  // "2025-06-28"
  std::optional<ReasoningEffort> effort = ReasoningEffort::medium;
  std::vector<std::string> channels = {std::string(kAnalysis), std::string(kCommentary),
                                       std::string(kFinal)};  // empty: no line about them
  bool channel_required = true;
  std::vector<ToolNamespace> tools = {};  // built into the model: browser, python
};

// What users call system prompt, and their tools.
struct DeveloperContent {
  std::optional<std::string> instructions = std::nullopt;
  std::vector<ToolNamespace> tools = {};
};

struct Message {
  Header header = {};
  // SystemContent and DeveloperContent belong to the role of that name.
  std::variant<std::string, SystemContent, DeveloperContent> content = {};
};

using Conversation = std::vector<Message>;

}  // namespace dunlin::harmony
