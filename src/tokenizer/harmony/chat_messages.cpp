#include "tokenizer/harmony/chat_messages.h"

#include <fmt/format.h>

#include <map>
#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>
#include <vector>

#include "tokenizer/harmony/schema_type.h"

namespace dunlin::harmony {
namespace {

using Json = nlohmann::ordered_json;

// Null: the object does not have it, or has null there.
const Json* present_member(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found == object.end() || found->is_null() ? nullptr : &*found;
}

// The text of a field; an empty one where it is missing.
Result<std::string> text_of(const Json& object, const char* key, const std::string& where) {
  const Json* const value = present_member(object, key);
  if (value == nullptr) return std::string();
  if (!value->is_string()) return usage_error(fmt::format("{}: {} is not a text", where, key));
  return value->get<std::string>();
}

Result<std::string> content_of(const Json& message, const std::string& where) {
  const Json* const content = present_member(message, "content");
  if (content == nullptr || !content->is_array()) return text_of(message, "content", where);
  std::string text;
  for (const Json& part : *content) {
    const Json* const piece = part.is_object() ? present_member(part, "text") : nullptr;
    const Json* const type = part.is_object() ? present_member(part, "type") : nullptr;
    if (piece == nullptr || !piece->is_string() || type == nullptr || *type != "text")
      return usage_error(where +
                         ": content has a part that is not text, which is all that the "
                         "model reads");
    text += piece->get_ref<const std::string&>();
  }
  return text;
}

Result<Tool> read_tool(const Json& entry, const std::string& where) {
  const Json* const function = entry.is_object() ? present_member(entry, "function") : nullptr;
  if (function == nullptr || !function->is_object())
    return usage_error(where + ": not a {\"type\":\"function\",\"function\":{...}}");
  Tool tool;
  DUNLIN_ASSIGN_OR_RETURN(tool.name, text_of(*function, "name", where));
  if (tool.name.empty()) return usage_error(where + ": the function has no name");
  DUNLIN_ASSIGN_OR_RETURN(tool.description, text_of(*function, "description", where));
  if (const Json* const parameters = present_member(*function, "parameters")) {
    auto type = schema_type(*parameters);
    if (!type.ok()) return type.error().with_context(where + ": parameters");
    tool.parameters = *std::move(type);
  }
  return tool;
}

Result<std::vector<ToolNamespace>> read_tools(const Json& tools) {
  if (tools.is_null()) return std::vector<ToolNamespace>();
  if (!tools.is_array()) return usage_error("tools is not a list");
  ToolNamespace functions{.name = std::string(kFunctions)};
  for (size_t i = 0; i < tools.size(); ++i) {
    DUNLIN_ASSIGN_OR_RETURN(Tool tool, read_tool(tools[i], fmt::format("tools[{}]", i)));
    functions.tools.push_back(std::move(tool));
  }
  if (functions.tools.empty()) return std::vector<ToolNamespace>();
  return std::vector<ToolNamespace>{std::move(functions)};
}

class ChatReader {
 public:
  ChatReader(const ChatSettings& settings, std::vector<ToolNamespace> tools)
      : tools_(std::move(tools)) {
    SystemContent system;
    system.date = settings.date;
    system.effort = settings.effort;
    conversation_.push_back({.header = {.role = Role::system}, .content = std::move(system)});
  }

  Result<void> add(const Json& message, const std::string& where) {
    if (!message.is_object()) return usage_error(where + ": not an object");
    DUNLIN_ASSIGN_OR_RETURN(const std::string name, text_of(message, "role", where));
    const auto role = role_of(name);
    if (!role.has_value()) {
      return usage_error(fmt::format(
          "{}: role \"{}\" is none of system, developer, user, assistant and tool", where, name));
    }
    if (*role == Role::assistant) return add_assistant(message, where);
    if (*role == Role::tool) return add_result(message, where);
    DUNLIN_ASSIGN_OR_RETURN(std::string text, content_of(message, where));
    if (*role != Role::user) {
      add_instructions(std::move(text));
      return {};
    }
    Header header{.role = Role::user};
    DUNLIN_ASSIGN_OR_RETURN(header.name, text_of(message, "name", where));
    conversation_.push_back({.header = std::move(header), .content = std::move(text)});
    return {};
  }

  Conversation take() {
    if (!tools_.empty()) {  // no instructions took them along
      DeveloperContent content{.tools = std::exchange(tools_, {})};
      conversation_.insert(conversation_.begin() + 1,
                           {.header = {.role = Role::developer}, .content = std::move(content)});
    }
    return std::move(conversation_);
  }

 private:
  void add_instructions(std::string text) {
    DeveloperContent content{.instructions = std::move(text), .tools = std::exchange(tools_, {})};
    conversation_.push_back({.header = {.role = Role::developer}, .content = std::move(content)});
  }

  void add_said(std::string_view channel, std::string text) {
    if (text.empty()) return;
    conversation_.push_back({.header = {.role = Role::assistant, .channel = std::string(channel)},
                             .content = std::move(text)});
  }

  Result<void> add_assistant(const Json& message, const std::string& where) {
    for (const char* const key : {"reasoning", "reasoning_content", "thinking"}) {
      DUNLIN_ASSIGN_OR_RETURN(std::string thought, text_of(message, key, where));
      add_said(kAnalysis, thought);
      if (!thought.empty()) break;
    }
    DUNLIN_ASSIGN_OR_RETURN(std::string text, content_of(message, where));
    const Json* const calls = present_member(message, "tool_calls");
    if (calls != nullptr && !calls->is_array())
      return usage_error(where + ": tool_calls is not a list");
    const bool calls_tools = calls != nullptr && !calls->empty();
    add_said(calls_tools ? kCommentary : kFinal, std::move(text));
    if (!calls_tools) return {};
    for (const Json& call : *calls) DUNLIN_RETURN_IF_ERROR(add_call(call, where + ": tool_calls"));
    return {};
  }

  Result<void> add_call(const Json& call, const std::string& where) {
    if (!call.is_object()) return usage_error(where + ": not an object");
    const Json* const function = present_member(call, "function");
    if (function == nullptr || !function->is_object())
      return usage_error(where + ": a call without a function");
    DUNLIN_ASSIGN_OR_RETURN(last_tool_, text_of(*function, "name", where));
    if (last_tool_.empty()) return usage_error(where + ": a call without a name");
    DUNLIN_ASSIGN_OR_RETURN(std::string id, text_of(call, "id", where));
    if (!id.empty()) tools_of_calls_[std::move(id)] = last_tool_;
    const Json* const arguments = present_member(*function, "arguments");
    std::string text = "{}";
    if (arguments != nullptr) {
      text = arguments->is_string()
                 ? arguments->get<std::string>()
                 : arguments->dump(-1, ' ', false, Json::error_handler_t::replace);
    }
    conversation_.push_back({.header = {.role = Role::assistant,
                                        .recipient = function_name(last_tool_),
                                        .channel = std::string(kCommentary),
                                        .content_type = "json",
                                        .constrained = true},
                             .content = std::move(text)});
    return {};
  }

  Result<void> add_result(const Json& message, const std::string& where) {
    DUNLIN_ASSIGN_OR_RETURN(std::string tool, text_of(message, "name", where));
    DUNLIN_ASSIGN_OR_RETURN(const std::string id, text_of(message, "tool_call_id", where));
    const auto call = tools_of_calls_.find(id);
    if (tool.empty()) tool = call == tools_of_calls_.end() ? last_tool_ : call->second;
    if (tool.empty()) return usage_error(where + ": the result of a tool that was not called");
    DUNLIN_ASSIGN_OR_RETURN(std::string text, content_of(message, where));
    conversation_.push_back({.header = {.role = Role::tool,
                                        .name = function_name(tool),
                                        .recipient = std::string(role_name(Role::assistant)),
                                        .channel = std::string(kCommentary)},
                             .content = std::move(text)});
    return {};
  }

  static std::string function_name(const std::string& tool) {
    return fmt::format("{}.{}", kFunctions, tool);
  }

  std::vector<ToolNamespace> tools_;
  Conversation conversation_ = {};
  std::string last_tool_ = {};
  // By the id of the call; a server's ids may begin anew with every answer.
  std::map<std::string, std::string> tools_of_calls_ = {};
};

}  // namespace

Result<Conversation> read_chat(const Json& messages, const Json& tools,
                               const ChatSettings& settings) {
  if (!messages.is_array()) return usage_error("messages is not a list");
  DUNLIN_ASSIGN_OR_RETURN(auto spaces, read_tools(tools));
  ChatReader reader(settings, std::move(spaces));
  for (size_t i = 0; i < messages.size(); ++i)
    DUNLIN_RETURN_IF_ERROR(reader.add(messages[i], fmt::format("messages[{}]", i)));
  return reader.take();
}

}  // namespace dunlin::harmony
