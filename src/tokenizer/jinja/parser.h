// The parser: from a template's source to the functions that run it.
#pragma once

#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/jinja/lexer.h"
#include "tokenizer/jinja/program.h"

namespace dunlin::jinja {

class Parser {
 public:
  // Throws LocatedError for a syntax error, a tag that is not supported, or nesting beyond
  // kMaxNesting.
  static Block parse(const std::string& source);

 private:
  explicit Parser(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}

  // Tokens. A word is a name or a symbol.
  const Token& current() const { return tokens_[position_]; }
  bool at(Token::Kind kind) const { return current().kind == kind; }
  bool at(std::string_view word) const { return current().is(word); }
  bool at_next(std::string_view word) const {
    return position_ + 1 < tokens_.size() && tokens_[position_ + 1].is(word);
  }
  Token take();
  bool skip(std::string_view word);
  void expect(std::string_view word);
  void expect(Token::Kind kind, std::string_view what);
  std::string expect_name();
  [[noreturn]] void fail(const std::string& what) const { throw LocatedError(current().at, what); }
  [[noreturn]] void fail_unexpected(std::string_view expected) const;

  // Expressions (parser_expression.cpp).
  Expression parse_expression(bool with_conditional = true);
  Expression parse_conditional();
  Expression parse_chain(size_t level);
  Expression parse_not();
  Expression parse_unary(bool with_filter = true);
  Expression parse_primary();
  Expression parse_name();
  Expression parse_number();
  std::vector<Expression> parse_list(std::string_view close);
  Expression parse_dict();
  // Comma-separated expressions as a tuple, or a single one as itself. `end_name` ends it early.
  Expression parse_tuple(bool with_conditional, std::string_view end_name = {});

  // What follows an operand (parser_postfix.cpp).
  Expression parse_postfix(Expression expression, bool with_filter);
  Expression parse_dot(Expression object);
  Expression parse_subscript(Expression object);
  Expression parse_call(Expression callee);
  Expression parse_filters(Expression input, bool begins_with_name);
  Expression parse_filter_or_test(Expression input, bool is_test);
  ArgumentList parse_arguments();
  void parse_argument(ArgumentList& arguments);

  // Statements (parser_statement.cpp; of loops parser_loop.cpp).
  using Run = std::function<Flow(Frame&)>;
  Block parse_block(std::initializer_list<std::string_view> end_names);
  Block parse_body(std::initializer_list<std::string_view> end_names);
  std::shared_ptr<const Block> parse_last_body(std::string_view end_name);
  Statement parse_output();
  Run parse_statement();
  Run parse_set();
  Run parse_for();
  Run parse_if();
  Run parse_macro();
  Run parse_call_block();
  Run parse_filter_block();
  Run parse_with();
  Run parse_loop_control();
  Run parse_generation();
  Target parse_target(bool with_namespace);
  Target parse_target_item(bool with_namespace);
  void parse_parameters(Macro& macro);
  void parse_macro_body(Macro& macro, std::string_view end_name);

  std::vector<Token> tokens_;
  size_t position_ = 0;
  int expression_level_ = 0;
  int statement_level_ = 0;
  int loop_level_ = 0;
  int conditional_level_ =
      0;  // inside an if, an unknown filter or test is an error only when it is reached
  bool last_was_call_ = false;  // whether the last expression ended with a call's arguments
  std::vector<Macro*> macros_;
};

}  // namespace dunlin::jinja
