// The parser's state, shared by its two halves: expressions and statements.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/jinja/ast.h"
#include "tokenizer/jinja/template_error.h"
#include "tokenizer/jinja/token.h"

namespace dunlin::jinja {

class Parser {
 public:
  explicit Parser(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}
  Block parse();

 private:
  // Tokens.
  const Token& current() const { return tokens_[position_]; }
  const Token& next_token() const { return tokens_[std::min(position_ + 1, tokens_.size() - 1)]; }
  Token take();
  bool is_name(std::string_view name) const {
    return current().kind == Token::Kind::name && current().text == name;
  }
  bool is_symbol(std::string_view symbol) const {
    return current().kind == Token::Kind::symbol && current().text == symbol;
  }
  bool skip_name(std::string_view name);
  bool skip_symbol(std::string_view symbol);
  void expect_symbol(std::string_view symbol);
  void expect_kind(Token::Kind kind, std::string_view what);
  std::string expect_name();
  [[noreturn]] void fail(const std::string& what) const {
    throw LocatedError(current().line, what);
  }
  [[noreturn]] void fail_unexpected(std::string_view expected) const;

  // Expressions (parser_expression.cpp).
  ExpressionPointer make(Expression::Kind kind, int line) const;
  ExpressionPointer finish(ExpressionPointer expression) const;
  ExpressionPointer parse_expression(bool with_conditional = true);
  ExpressionPointer parse_conditional();
  ExpressionPointer parse_or();
  ExpressionPointer parse_and();
  ExpressionPointer parse_not();
  ExpressionPointer parse_compare();
  ExpressionPointer parse_sum();
  ExpressionPointer parse_concat();
  ExpressionPointer parse_product();
  ExpressionPointer parse_power();
  ExpressionPointer parse_unary(bool with_filter = true);
  ExpressionPointer parse_primary();
  ExpressionPointer parse_name();
  ExpressionPointer parse_number();
  ExpressionPointer parse_string();
  ExpressionPointer parse_list();
  ExpressionPointer parse_dict();
  // Comma-separated expressions as a tuple, or a single one as itself. `end_name` ends it early.
  ExpressionPointer parse_tuple(bool with_conditional, bool in_parentheses,
                                std::string_view end_name = {});
  bool at_tuple_end(std::string_view end_name) const;
  ExpressionPointer parse_postfix(ExpressionPointer expression);
  ExpressionPointer parse_subscript(ExpressionPointer object);
  ExpressionPointer parse_index();
  ExpressionPointer parse_call(ExpressionPointer callee);
  std::unique_ptr<CallArguments> parse_arguments();
  void parse_argument(CallArguments& arguments);
  ExpressionPointer parse_filters_and_tests(ExpressionPointer expression);
  ExpressionPointer parse_filter(ExpressionPointer input);
  ExpressionPointer parse_filter_chain(ExpressionPointer input);
  ExpressionPointer parse_test(ExpressionPointer input);

  // Statements (parser_statement.cpp).
  Block parse_block(std::initializer_list<std::string_view> end_names);
  Block parse_body(std::initializer_list<std::string_view> end_names);
  Statement parse_statement();
  Statement make_statement(Statement::Kind kind) const;
  Statement parse_output();
  Statement parse_set();
  Statement parse_for();
  Statement parse_if();
  Statement parse_macro();
  Statement parse_call_block();
  Statement parse_filter_block();
  Statement parse_with();
  Statement parse_loop_control();
  Statement parse_generation();
  Target parse_target(bool with_namespace);
  Target parse_target_item(bool with_namespace);
  std::vector<Parameter> parse_parameters();
  Block parse_macro_body(Macro& macro, std::string_view end_name);

  // Counts nesting while it lives.
  class Nested {
   public:
    Nested(Parser& parser, int& level);
    ~Nested() { --level_; }
    Nested(const Nested&) = delete;
    Nested& operator=(const Nested&) = delete;

   private:
    int& level_;
  };

  std::vector<Token> tokens_;
  size_t position_ = 0;
  int expression_level_ = 0;
  int statement_level_ = 0;
  int loop_level_ = 0;
  int conditional_level_ =
      0;  // inside an if, an unknown filter or test is an error only when it is reached
  std::vector<Macro*> macros_;
};

}  // namespace dunlin::jinja
