// The parser's statements: text, {{ }} and the {% %} tags.
#include <fmt/format.h>

#include <algorithm>

#include "tokenizer/jinja/limits.h"
#include "tokenizer/jinja/parser.h"
#include "tokenizer/jinja/parser_state.h"

namespace dunlin::jinja {

using Kind = Statement::Kind;

Block parse_template(const std::string& source) {
  return Parser(tokenize_template(source)).parse();
}

Parser::Nested::Nested(Parser& parser, int& level) : level_(level) {
  if (level >= kMaxNesting) parser.fail("nested deeper than 64 levels");
  ++level_;
}

Token Parser::take() {
  Token token = tokens_[position_];
  if (token.kind != Token::Kind::end) ++position_;
  return token;
}

bool Parser::skip_name(std::string_view name) {
  if (!is_name(name)) return false;
  ++position_;
  return true;
}

bool Parser::skip_symbol(std::string_view symbol) {
  if (!is_symbol(symbol)) return false;
  ++position_;
  return true;
}

void Parser::expect_symbol(std::string_view symbol) {
  if (!skip_symbol(symbol)) fail_unexpected(fmt::format("'{}'", symbol));
}

void Parser::expect_kind(Token::Kind kind, std::string_view what) {
  if (current().kind != kind) fail_unexpected(what);
  take();
}

std::string Parser::expect_name() {
  if (current().kind != Token::Kind::name) fail_unexpected("a name");
  return take().text;
}

void Parser::fail_unexpected(std::string_view expected) const {
  switch (current().kind) {
    case Token::Kind::end:
      fail(fmt::format("the template ends where {} is expected", expected));
    case Token::Kind::variable_end:
    case Token::Kind::block_end:
      fail(fmt::format("the tag ends where {} is expected", expected));
    default:
      fail(fmt::format("unexpected '{:.40}', expected {}", current().text, expected));
  }
}

Block Parser::parse() {
  Block block = parse_block({});
  if (current().kind != Token::Kind::end) fail_unexpected("the end of the template");
  return block;
}

Statement Parser::make_statement(Kind kind) const {
  Statement statement;
  statement.kind = kind;
  statement.line = current().line;
  return statement;
}

// Statements up to a tag with one of `end_names`, whose name is then the current token; without
// names up to the end.
Block Parser::parse_block(std::initializer_list<std::string_view> end_names) {
  const Nested nested(*this, statement_level_);
  Block block;
  while (current().kind != Token::Kind::end) {
    if (current().kind == Token::Kind::data) {
      Statement text = make_statement(Kind::text);
      text.text = Value(Text(take().text, true));
      block.push_back(std::move(text));
    } else if (current().kind == Token::Kind::variable_begin) {
      block.push_back(parse_output());
    } else {
      expect_kind(Token::Kind::block_begin, "a tag");
      if (std::any_of(end_names.begin(), end_names.end(), [&](auto name) { return is_name(name); }))
        return block;
      block.push_back(parse_statement());
      expect_kind(Token::Kind::block_end, "the end of the tag");
    }
  }
  if (end_names.size() > 0) fail_unexpected(fmt::format("'{}'", *(end_names.end() - 1)));
  return block;
}

// The end of the opening tag and the statements behind it.
Block Parser::parse_body(std::initializer_list<std::string_view> end_names) {
  skip_symbol(":");
  expect_kind(Token::Kind::block_end, "the end of the tag");
  return parse_block(end_names);
}

Statement Parser::parse_statement() {
  static constexpr std::pair<std::string_view, Statement (Parser::*)()> kTags[] = {
      {"set", &Parser::parse_set},
      {"for", &Parser::parse_for},
      {"if", &Parser::parse_if},
      {"macro", &Parser::parse_macro},
      {"call", &Parser::parse_call_block},
      {"filter", &Parser::parse_filter_block},
      {"with", &Parser::parse_with},
      {"generation", &Parser::parse_generation},
      {"break", &Parser::parse_loop_control},
      {"continue", &Parser::parse_loop_control},
  };
  if (current().kind != Token::Kind::name) fail_unexpected("the name of a tag");
  for (const auto& [name, parse] : kTags) {
    if (is_name(name)) return (this->*parse)();
  }
  fail(fmt::format("the tag '{:.40}' is not supported here", current().text));
}

Statement Parser::parse_output() {
  Statement output = make_statement(Kind::output);
  take();
  output.expressions.push_back(parse_tuple(true, false));
  expect_kind(Token::Kind::variable_end, "'}}'");
  return output;
}

Target Parser::parse_target_item(bool with_namespace) {
  const Nested nested(*this, expression_level_);
  Target target;
  if (skip_symbol("(")) {
    target = parse_target(with_namespace);
    expect_symbol(")");
    return target;
  }
  target.name = expect_name();
  for (std::string_view constant : {"true", "false", "none", "True", "False", "None", "loop"}) {
    if (target.name == constant) fail(fmt::format("cannot assign to '{}'", constant));
  }
  if (with_namespace && skip_symbol(".")) target.attribute = expect_name();
  return target;
}

Target Parser::parse_target(bool with_namespace) {
  Target first = parse_target_item(with_namespace);
  if (!is_symbol(",")) return first;
  Target tuple;
  tuple.is_tuple = true;
  tuple.items.push_back(std::move(first));
  while (skip_symbol(",")) {
    if (is_name("in") || is_symbol("=") || is_symbol(")") ||
        current().kind == Token::Kind::block_end)
      break;
    tuple.items.push_back(parse_target_item(with_namespace));
  }
  return tuple;
}

Statement Parser::parse_set() {
  Statement set = make_statement(Kind::set);
  take();
  set.targets.push_back(parse_target(true));
  if (skip_symbol("=")) {
    set.expressions.push_back(parse_tuple(true, false));
    return set;
  }
  set.kind = Kind::set_block;
  if (is_symbol("|")) set.expressions.push_back(parse_filter_chain(nullptr));
  set.body = parse_body({"endset"});
  take();
  return set;
}

Statement Parser::parse_for() {
  Statement loop = make_statement(Kind::for_loop);
  take();
  loop.targets.push_back(parse_target(false));
  if (!skip_name("in")) fail_unexpected("'in'");
  loop.expressions.push_back(parse_tuple(false, false, "recursive"));
  if (skip_name("if")) loop.condition = parse_expression();
  loop.recursive = skip_name("recursive");
  ++loop_level_;
  loop.body = parse_body({"else", "endfor"});
  --loop_level_;
  if (take().text == "else") {
    loop.otherwise = parse_body({"endfor"});
    take();
  }
  return loop;
}

Statement Parser::parse_if() {
  Statement statement = make_statement(Kind::if_else);
  ++conditional_level_;
  std::string tag = take().text;
  while (tag != "endif") {
    Branch branch;
    if (tag != "else") branch.condition = parse_tuple(false, false);
    const bool last = tag == "else";
    branch.body = last ? parse_body({"endif"}) : parse_body({"elif", "else", "endif"});
    statement.branches.push_back(std::move(branch));
    tag = take().text;
  }
  --conditional_level_;
  return statement;
}

std::vector<Parameter> Parser::parse_parameters() {
  std::vector<Parameter> parameters;
  expect_symbol("(");
  while (!is_symbol(")")) {
    if (!parameters.empty()) expect_symbol(",");
    Parameter parameter;
    parameter.name = expect_name();
    if (skip_symbol("=")) {
      parameter.default_value = parse_expression();
    } else if (!parameters.empty() && parameters.back().default_value) {
      fail("a parameter without a default follows one with a default");
    }
    parameters.push_back(std::move(parameter));
  }
  take();
  return parameters;
}

// A body in which no enclosing loop can be left, and which notes the special names that it uses.
Block Parser::parse_macro_body(Macro& macro, std::string_view end_name) {
  const int outer_loops = std::exchange(loop_level_, 0);
  macros_.push_back(&macro);
  Block body = parse_body({end_name});
  macros_.pop_back();
  loop_level_ = outer_loops;
  take();
  return body;
}

Statement Parser::parse_macro() {
  Statement statement = make_statement(Kind::macro);
  take();
  statement.macro = std::make_unique<Macro>();
  statement.macro->name = expect_name();
  statement.macro->parameters = parse_parameters();
  statement.macro->body = parse_macro_body(*statement.macro, "endmacro");
  return statement;
}

Statement Parser::parse_call_block() {
  Statement statement = make_statement(Kind::call_block);
  take();
  statement.macro = std::make_unique<Macro>();
  statement.macro->name = "caller";
  if (is_symbol("(")) statement.macro->parameters = parse_parameters();
  statement.expressions.push_back(parse_expression());
  if (statement.expressions[0]->kind != Expression::Kind::call) fail("a call block needs a call");
  statement.macro->body = parse_macro_body(*statement.macro, "endcall");
  return statement;
}

Statement Parser::parse_filter_block() {
  Statement statement = make_statement(Kind::filter_block);
  take();
  ExpressionPointer filter = parse_filter(nullptr);
  statement.expressions.push_back(parse_filter_chain(std::move(filter)));
  statement.body = parse_body({"endfilter"});
  take();
  return statement;
}

Statement Parser::parse_with() {
  Statement statement = make_statement(Kind::with);
  take();
  while (current().kind != Token::Kind::block_end) {
    if (!statement.targets.empty()) expect_symbol(",");
    statement.targets.push_back(parse_target_item(false));
    expect_symbol("=");
    statement.expressions.push_back(parse_expression());
  }
  statement.body = parse_body({"endwith"});
  take();
  return statement;
}

// {% generation %} marks the assistant's words for training; rendering treats it as a plain block.
Statement Parser::parse_generation() {
  Statement statement = make_statement(Kind::with);
  take();
  statement.body = parse_body({"endgeneration"});
  take();
  return statement;
}

Statement Parser::parse_loop_control() {
  const bool is_break = is_name("break");
  Statement statement = make_statement(is_break ? Kind::break_loop : Kind::continue_loop);
  take();
  if (loop_level_ == 0) fail(fmt::format("'{}' outside a loop", is_break ? "break" : "continue"));
  return statement;
}

}  // namespace dunlin::jinja
