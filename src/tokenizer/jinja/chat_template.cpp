// Parsing and rendering of chat templates: the only place of this folder where exceptions become
// errors.
#include "tokenizer/jinja/chat_template.h"

#include <fmt/format.h>

#include <utility>

#include "tokenizer/jinja/chat_inputs.h"
#include "tokenizer/jinja/interpreter.h"
#include "tokenizer/jinja/limits.h"
#include "tokenizer/jinja/parser.h"

namespace dunlin {

struct ChatTemplate::Parsed {
  std::string name;
  jinja::Block block;
};

Result<ChatTemplate> ChatTemplate::parse(std::string source, std::string name) {
  if (source.size() > jinja::kMaxTemplateBytes) {
    return model_error(fmt::format("{}: the chat template is larger than 1 MiB", name));
  }
  auto parsed = std::make_shared<Parsed>();
  parsed->name = std::move(name);
  try {
    parsed->block = jinja::parse_template(source);
  } catch (const jinja::LocatedError& error) {
    return model_error(fmt::format("{}:{}: {}", parsed->name, error.line, error.what()));
  }
  return ChatTemplate(std::move(parsed));
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

void define_inputs(const ChatInputs& inputs, jinja::Interpreter& interpreter) {
  interpreter.define("messages", jinja::value_from_json(inputs.messages));
  interpreter.define("tools", jinja::value_from_json(inputs.tools));
  interpreter.define("documents", jinja::Value());
  interpreter.define("add_generation_prompt", jinja::Value(inputs.add_generation_prompt));
  interpreter.define("bos_token", jinja::Value(jinja::Text(inputs.bos_token, true)));
  interpreter.define("eos_token", jinja::Value(jinja::Text(inputs.eos_token, true)));
  for (const auto& variable : inputs.variables.items()) {
    interpreter.define(variable.key(), jinja::value_from_json(variable.value()));
  }
}

}  // namespace

Result<std::vector<TextSpan>> ChatTemplate::render(const ChatInputs& inputs) const {
  if (!inputs.variables.is_object())
    return usage_error(fmt::format("{}: variables must be an object", parsed_->name));
  jinja::Runtime runtime;
  runtime.now = inputs.now;
  jinja::Interpreter interpreter(runtime);
  try {
    define_inputs(inputs, interpreter);
    return to_spans(interpreter.render(parsed_->block));
  } catch (const jinja::TemplateError& error) {
    return usage_error(fmt::format("{}:{}: {}", parsed_->name, interpreter.line(), error.what()));
  }
}

std::string join_spans(const std::vector<TextSpan>& spans) {
  std::string text;
  for (const TextSpan& span : spans) text += span.text;
  return text;
}

}  // namespace dunlin
