// The parser's statements: text, {{ }} and the {% %} tags.
#include <fmt/format.h>

#include <algorithm>

#include "tokenizer/jinja/limits.h"
#include "tokenizer/jinja/parser.h"
#include "tokenizer/jinja/print.h"

namespace dunlin::jinja {
namespace {

void write(const Value& value, Frame& frame) {
  frame.output.append(to_text(value, frame.runtime));
}

void assign_attribute(const std::string& object_name, const std::string& attribute, Value value,
                      Frame& frame) {
  const Value* object = frame.scope->find(object_name);
  if (!object || !object->object() || object->object()->kind != Object::Kind::name_space) {
    throw TemplateError(
        fmt::format("cannot assign an attribute of '{}': it is not a namespace", object_name));
  }
  if (attribute.starts_with('_')) throw TemplateError("attribute names must not begin with _");
  static_cast<NamespaceObject*>(object->object())
      ->attributes.set(Value(Text(attribute, true)), std::move(value), frame.runtime);
}

void assign_tuple(const std::vector<Target>& targets, const Value& value, Frame& frame) {
  const std::vector<Value> items = iterate(value, frame.runtime);
  if (items.size() != targets.size()) {
    throw TemplateError(
        fmt::format("cannot unpack {} values into {}", items.size(), targets.size()));
  }
  for (size_t i = 0; i < items.size(); ++i) targets[i](frame, items[i]);
}

// The text of a filter or set block, which is the input of its first filter.
Expression captured_text(Position where) {
  return make_expression(where,
                         [](Frame& frame) { return std::exchange(frame.captured, Value()); });
}

}  // namespace

// Statements up to a tag with one of `end_names`, whose name is then the current token; without
// names up to the end.
Block Parser::parse_block(std::initializer_list<std::string_view> end_names) {
  const Level level(statement_level_, kMaxNesting, "a tag");
  Block block;
  while (!at(Token::Kind::end)) {
    if (at(Token::Kind::data) || at(Token::Kind::variable_begin)) {
      block.push_back(parse_output());
      continue;
    }
    expect(Token::Kind::block_begin, "a tag");
    if (std::any_of(end_names.begin(), end_names.end(), [&](auto name) { return at(name); }))
      return block;
    const Position where = current().at;
    block.push_back({parse_statement(), where});
    expect(Token::Kind::block_end, "the end of the tag");
  }
  if (end_names.size() > 0) fail_unexpected(fmt::format("'{}'", *(end_names.end() - 1)));
  return block;
}

// The end of the opening tag and the statements behind it.
Block Parser::parse_body(std::initializer_list<std::string_view> end_names) {
  skip(":");
  expect(Token::Kind::block_end, "the end of the tag");
  return parse_block(end_names);
}

std::shared_ptr<const Block> Parser::parse_last_body(std::string_view end_name) {
  auto block = std::make_shared<const Block>(parse_body({end_name}));
  take();
  return block;
}

// Text outside tags, or {{ }}.
Statement Parser::parse_output() {
  const Token token = take();
  if (token.kind == Token::Kind::data) {
    const Value text(Text(token.text, true));
    return {[text](Frame& frame) {
              write(text, frame);
              return Flow::normal;
            },
            token.at};
  }
  Expression value = parse_tuple(true);
  expect(Token::Kind::variable_end, "'}}'");
  return {[value](Frame& frame) {
            write(value(frame), frame);
            return Flow::normal;
          },
          token.at};
}

Parser::Run Parser::parse_statement() {
  static constexpr std::pair<std::string_view, Run (Parser::*)()> kTags[] = {
      {"set", &Parser::parse_set},
      {"for", &Parser::parse_for},
      {"if", &Parser::parse_if},
      {"macro", &Parser::parse_macro},
      {"call", &Parser::parse_call_block},
      {"with", &Parser::parse_with},
      {"filter", &Parser::parse_filter_block},
      {"generation", &Parser::parse_generation},
      {"break", &Parser::parse_loop_control},
      {"continue", &Parser::parse_loop_control},
  };
  if (!at(Token::Kind::name)) fail_unexpected("the name of a tag");
  for (const auto& [name, parse] : kTags) {
    if (at(name)) return (this->*parse)();
  }
  fail(fmt::format("the tag '{:.40}' is not supported here", current().text));
}

Target Parser::parse_target_item(bool with_namespace) {
  const Level level(expression_level_, kMaxNesting, "an expression");
  if (skip("(")) {
    Target target = parse_target(with_namespace);
    expect(")");
    return target;
  }
  const std::string name = expect_name();
  for (std::string_view constant : {"true", "false", "none", "True", "False", "None", "loop"}) {
    if (name == constant) fail(fmt::format("cannot assign to '{}'", constant));
  }
  if (!with_namespace || !skip("."))
    return [name](Frame& frame, Value value) { frame.scope->set(name, std::move(value)); };
  return [name, attribute = expect_name()](Frame& frame, Value value) {
    assign_attribute(name, attribute, std::move(value), frame);
  };
}

Target Parser::parse_target(bool with_namespace) {
  std::vector<Target> targets;
  targets.push_back(parse_target_item(with_namespace));
  if (!at(",")) return std::move(targets[0]);
  while (skip(",") && !at("in") && !at("=") && !at(")") && !at(Token::Kind::block_end))
    targets.push_back(parse_target_item(with_namespace));
  return [targets](Frame& frame, const Value& value) { assign_tuple(targets, value, frame); };
}

Parser::Run Parser::parse_set() {
  take();
  Target target = parse_target(true);
  if (skip("=")) {
    return [target, value = parse_tuple(true)](Frame& frame) {
      target(frame, value(frame));
      return Flow::normal;
    };
  }
  const Expression filtered = parse_filters(captured_text(current().at), false);
  return [target, filtered, body = parse_last_body("endset")](Frame& frame) {
    frame.captured = frame.runtime.string(capture(*body, frame));
    target(frame, filtered(frame));
    return Flow::normal;
  };
}

Parser::Run Parser::parse_if() {
  auto branches = std::make_shared<std::vector<std::pair<Expression, Block>>>();
  ++conditional_level_;
  for (std::string tag = take().text; tag != "endif"; tag = take().text) {
    Expression condition = tag == "else" ? Expression() : parse_tuple(false);
    Block body = condition ? parse_body({"elif", "else", "endif"}) : parse_body({"endif"});
    branches->emplace_back(std::move(condition), std::move(body));
  }
  --conditional_level_;
  return [branches](Frame& frame) {
    for (const auto& [condition, body] : *branches) {
      if (!condition || condition(frame).truthy()) return run(body, frame);
    }
    return Flow::normal;
  };
}

void Parser::parse_parameters(Macro& macro) {
  auto& parameters = macro.parameters;
  expect("(");
  while (!at(")")) {
    if (!parameters.empty()) expect(",");
    const bool defaults = !parameters.empty() && parameters.back().second;
    std::string name = expect_name();
    Expression default_value;
    if (skip("=")) {
      default_value = parse_expression();
    } else if (defaults) {
      fail("a parameter without a default follows one with a default");
    }
    parameters.emplace_back(std::move(name), std::move(default_value));
    if (parameters.size() > kMaxArguments) fail("a macro has more than 255 parameters");
  }
  take();
}

// A body in which no enclosing loop can be left, and which notes whether it uses caller.
void Parser::parse_macro_body(Macro& macro, std::string_view end_name) {
  const int outer_loops = std::exchange(loop_level_, 0);
  macros_.push_back(&macro);
  macro.body = parse_body({end_name});
  take();
  macros_.pop_back();
  loop_level_ = outer_loops;
}

Parser::Run Parser::parse_macro() {
  take();
  auto macro = std::make_shared<Macro>();
  macro->name = expect_name();
  parse_parameters(*macro);
  parse_macro_body(*macro, "endmacro");
  return [macro](Frame& frame) {
    frame.scope->set(macro->name, define_macro(*macro, frame));
    return Flow::normal;
  };
}

Parser::Run Parser::parse_call_block() {
  take();
  auto macro = std::make_shared<Macro>();
  macro->name = "caller";
  if (at("(")) parse_parameters(*macro);
  Expression call = parse_expression();
  if (!last_was_call_) fail("a call block needs a call");
  parse_macro_body(*macro, "endcall");
  return [macro, call](Frame& frame) {
    frame.caller = define_macro(*macro, frame);
    write(call(frame), frame);
    return Flow::normal;
  };
}

Parser::Run Parser::parse_filter_block() {
  const Position where = take().at;
  const Expression filtered = parse_filters(captured_text(where), true);
  return [filtered, body = parse_last_body("endfilter")](Frame& frame) {
    frame.captured = frame.runtime.string(capture(*body, frame));
    write(filtered(frame), frame);
    return Flow::normal;
  };
}

// The values are evaluated outside the new scope.
Parser::Run Parser::parse_with() {
  take();
  std::vector<std::pair<Target, Expression>> variables;
  while (!at(Token::Kind::block_end)) {
    if (!variables.empty()) expect(",");
    Target target = parse_target_item(false);
    expect("=");
    variables.emplace_back(std::move(target), parse_expression());
  }
  return [variables, body = parse_last_body("endwith")](Frame& frame) {
    std::vector<Value> values;
    for (const auto& variable : variables) values.push_back(variable.second(frame));
    const ScopeChange inner(frame);
    for (size_t i = 0; i < values.size(); ++i) variables[i].first(frame, values[i]);
    return run(*body, frame);
  };
}

// {% generation %} marks the assistant's words for training; rendering treats it as a plain block.
Parser::Run Parser::parse_generation() {
  take();
  return [body = parse_last_body("endgeneration")](Frame& frame) {
    const ScopeChange inner(frame);
    return run(*body, frame);
  };
}

}  // namespace dunlin::jinja
