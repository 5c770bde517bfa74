#include "tokenizer/harmony/render.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/check.h"
#include "tokenizer/harmony/marks.h"

namespace dunlin::harmony {
namespace {

// Without the line feeds (and carriage returns before them); the last line may lack one.
std::vector<std::string_view> lines_of(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    const size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    if (end != std::string_view::npos && line.ends_with('\r')) line.remove_suffix(1);
    lines.push_back(line);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  }
  return lines;
}

std::string tool_text(const Tool& tool) {
  std::string text;
  for (const std::string_view line : lines_of(tool.description))
    text += fmt::format("// {}\n", line);
  const std::string parameter = tool.parameters ? "_: " + *tool.parameters : "";
  return text + fmt::format("type {} = ({}) => any;\n\n", tool.name, parameter);
}

std::string namespace_text(const ToolNamespace& space) {
  std::string text = fmt::format("## {}\n", space.name);
  const char* const comment = space.tools.empty() ? "" : "// ";
  for (const std::string_view line : lines_of(space.description))
    text += fmt::format("\n{}{}", comment, line);
  if (space.tools.empty()) return text;
  text += fmt::format("\nnamespace {} {{\n\n", space.name);
  for (const Tool& tool : space.tools) text += tool_text(tool);
  return text + fmt::format("}} // namespace {}", space.name);
}

// In the order of their names; those of one name as they came.
void add_tools(const std::vector<ToolNamespace>& spaces, std::vector<std::string>& sections) {
  if (spaces.empty()) return;
  std::vector<std::pair<std::string_view, const ToolNamespace*>> order;
  for (const ToolNamespace& space : spaces) order.emplace_back(space.name, &space);
  std::ranges::sort(order);
  sections.push_back("# Tools");
  for (const auto& [name, space] : order) sections.push_back(namespace_text(*space));
}

std::string join_sections(const std::vector<std::string>& sections) {
  return fmt::format("{}", fmt::join(sections, "\n\n"));
}

std::string system_text(const SystemContent& content, bool has_functions) {
  std::vector<std::string> top;
  if (content.identity) top.push_back(*content.identity);
  if (content.knowledge_cutoff) top.push_back("Knowledge cutoff: " + *content.knowledge_cutoff);
  if (content.date) top.push_back("Current date: " + *content.date);
  std::vector<std::string> sections;
  if (!top.empty()) sections.push_back(fmt::format("{}", fmt::join(top, "\n")));
  if (content.effort)
    sections.push_back(fmt::format("Reasoning: {}", effort_name(*content.effort)));
  add_tools(content.tools, sections);
  if (!content.channels.empty()) {
    std::string line = fmt::format("# Valid channels: {}.", fmt::join(content.channels, ", "));
    if (content.channel_required) line += " Channel must be included for every message.";
    if (has_functions)
      line += "\nCalls to these tools must go to the commentary channel: 'functions'.";
    sections.push_back(std::move(line));
  }
  return join_sections(sections);
}

std::string developer_text(const DeveloperContent& content) {
  std::vector<std::string> sections;
  if (content.instructions) {
    sections.push_back("# Instructions");
    sections.push_back(*content.instructions);
  }
  add_tools(content.tools, sections);
  return join_sections(sections);
}

bool has_functions(const Message& message) {
  const auto* const content = std::get_if<DeveloperContent>(&message.content);
  return content != nullptr && std::ranges::any_of(content->tools, [](const ToolNamespace& space) {
           return space.name == kFunctions && !space.tools.empty();
         });
}

// How many messages at the beginning are over: their thoughts are not shown again.
size_t messages_before_last_answer(const Conversation& conversation) {
  const auto last =
      std::find_if(conversation.rbegin(), conversation.rend(), [](const Message& each) {
        return each.header.role == Role::assistant && each.header.channel == kFinal;
      });
  return static_cast<size_t>(conversation.rend() - last);
}

class Renderer {
 public:
  explicit Renderer(bool has_function_tools) : has_functions_(has_function_tools) {}

  void write(const Message& message) {
    const Header& header = message.header;
    mark(kStart);
    author(header);
    if (!header.recipient.empty() && header.recipient != "all") text(" to=" + header.recipient);
    if (!header.channel.empty()) {
      mark(kChannel);
      text(header.channel);
    }
    if (header.constrained || !header.content_type.empty()) text(" ");
    if (header.constrained) mark(kConstrain);
    text(header.content_type);
    mark(kMessage);
    text(content(message));
    const bool call = header.role == Role::assistant && !header.recipient.empty();
    mark(call ? kCall : kEnd);
  }

  void prompt_of(Role role) {
    mark(kStart);
    text(role_name(role));
  }

  std::vector<TextSpan> take() { return std::move(spans_); }

 private:
  void author(const Header& header) {
    if (header.role == Role::tool) {
      text(header.name);
    } else {
      text(role_name(header.role));
      if (!header.name.empty()) text(":" + header.name);
    }
  }

  std::string content(const Message& message) const {
    if (const auto* const system = std::get_if<SystemContent>(&message.content)) {
      DUNLIN_CHECK(message.header.role == Role::system, "SystemContent of another role");
      return system_text(*system, has_functions_);
    }
    if (const auto* const developer = std::get_if<DeveloperContent>(&message.content)) {
      DUNLIN_CHECK(message.header.role == Role::developer, "DeveloperContent of another role");
      return developer_text(*developer);
    }
    return std::get<std::string>(message.content);
  }

  void mark(std::string_view content) { add(content, /*allow_special=*/true); }
  void text(std::string_view content) { add(content, /*allow_special=*/false); }
  void add(std::string_view content, bool allow_special) {
    if (content.empty()) return;
    if (spans_.empty() || spans_.back().allow_special != allow_special)
      spans_.push_back({std::string(), allow_special});
    spans_.back().text += content;
  }

  bool has_functions_;
  std::vector<TextSpan> spans_ = {};
};

}  // namespace

std::vector<TextSpan> render(const Conversation& conversation, const RenderOptions& options) {
  const size_t over = options.drop_analysis ? messages_before_last_answer(conversation) : 0;
  Renderer renderer(std::ranges::any_of(conversation, has_functions));
  for (size_t i = 0; i < conversation.size(); ++i) {
    const Header& header = conversation[i].header;
    const bool thought = header.role == Role::assistant && header.channel == kAnalysis;
    if (i >= over || !thought) renderer.write(conversation[i]);
  }
  if (options.generation_prompt) renderer.prompt_of(Role::assistant);
  return renderer.take();
}

}  // namespace dunlin::harmony
