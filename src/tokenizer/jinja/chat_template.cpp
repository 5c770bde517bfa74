// Parsing and rendering of chat templates: the only place of this folder where exceptions become
// errors.
#include "tokenizer/jinja/chat_template.h"

#include <fmt/format.h>

#include <utility>

#include "tokenizer/jinja/chat_inputs.h"
#include "tokenizer/jinja/limits.h"
#include "tokenizer/jinja/parser.h"

namespace dunlin {

struct ChatTemplate::Parsed {
  std::string name;
  std::string source;
  jinja::Block block;
};

Result<ChatTemplate> ChatTemplate::parse(std::string source, std::string name) {
  if (source.size() > jinja::kMaxTemplateBytes) {
    return model_error(fmt::format("{}: the chat template is larger than 1 MiB", name));
  }
  auto parsed = std::make_shared<Parsed>();
  parsed->name = std::move(name);
  try {
    parsed->block = jinja::Parser::parse(source);
  } catch (const jinja::LocatedError& error) {
    return model_error(
        fmt::format("{}:{}:{}: {}", parsed->name, error.at.line, error.at.column, error.what()));
  }
  parsed->source = std::move(source);
  return ChatTemplate(std::move(parsed));
}

const std::string& ChatTemplate::source() const {
  return parsed_->source;
}

namespace {

std::vector<TextSpan> to_spans(const jinja::Text& text) {
  std::vector<TextSpan> spans;
  size_t position = 0;
  const auto add = [&](size_t end, bool trusted) {
    if (end > position) spans.push_back({text.bytes().substr(position, end - position), trusted});
    position = end;
  };
  for (const jinja::ByteRange& range : text.trusted()) {
    add(range.begin, false);
    add(range.end, true);
  }
  add(text.size(), false);
  return spans;
}

void define_inputs(const ChatInputs& inputs, jinja::Scope& scope) {
  scope.set("messages", jinja::value_from_json(inputs.messages.value));
  scope.set("tools", jinja::value_from_json(inputs.tools));
  scope.set("documents", jinja::Value());
  scope.set("add_generation_prompt", jinja::Value(inputs.add_generation_prompt));
  scope.set("bos_token", jinja::Value(jinja::Text(inputs.bos_token, true)));
  scope.set("eos_token", jinja::Value(jinja::Text(inputs.eos_token, true)));
  for (const auto& variable : inputs.variables.items())
    scope.set(variable.key(), jinja::value_from_json(variable.value()));
}

}  // namespace

Result<std::vector<TextSpan>> ChatTemplate::render(const ChatInputs& inputs) const {
  if (!inputs.variables.is_object())
    return usage_error(fmt::format("{}: variables must be an object", parsed_->name));
  jinja::Runtime runtime(inputs.now);
  jinja::Frame frame(runtime);
  try {
    define_inputs(inputs, *frame.scope);
    const jinja::ScopeChange block(frame);  // what the template sets does not replace an input
    jinja::run(parsed_->block, frame);
    return to_spans(frame.output.take());
  } catch (const jinja::TemplateError& error) {
    return usage_error(
        fmt::format("{}:{}:{}: {}", parsed_->name, frame.at.line, frame.at.column, error.what()));
  }
}

std::string join_spans(const std::vector<TextSpan>& spans) {
  std::string text;
  for (const TextSpan& span : spans) text += span.text;
  return text;
}

}  // namespace dunlin
