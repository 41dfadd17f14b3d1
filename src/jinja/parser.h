// Recursive descent over the tokens, with a limit on its depth.
#pragma once

#include <algorithm>
#include <cstddef>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "jinja/ast.h"
#include "jinja/lexer.h"

namespace thinkey::jinja {

class Parser {
 public:
  explicit Parser(std::string_view source);
  [[nodiscard]] Program run();

 private:
  using Type = Token::Type;
  using Kind = Expression::Kind;

  // parser.cpp: statements
  Statements parse_body(std::initializer_list<std::string_view> ends);  // up to one of these tags
  Statement parse_statement();
  Statement parse_if();
  Statement parse_for();
  Statement parse_set();
  Statement parse_macro();
  Statement parse_call_block();
  Statement parse_filter_block();
  Statement parse_with();
  Statement parse_block();
  void parse_signature(MacroCode& macro);
  Statements parse_macro_body(MacroCode& macro, std::string_view end);
  Statements parse_inner(std::string_view end);  // a body in a frame of its own, without its end tag
  ExpressionPtr parse_target(bool with_namespace, std::string_view end_name);
  [[nodiscard]] ExpressionPtr parse_name_target();

  // expression_parser.cpp
  struct TupleRules {
    bool simplified = false, conditional = true, parentheses = false, with_namespace = false;
    std::string_view end_name = {};
  };
  ExpressionPtr parse_tuple(const TupleRules& rules);
  ExpressionPtr parse_expression(bool conditional = true);
  ExpressionPtr parse_or();
  ExpressionPtr parse_and();
  ExpressionPtr parse_not();
  ExpressionPtr parse_comparison();
  ExpressionPtr parse_sum();
  ExpressionPtr parse_concat();
  ExpressionPtr parse_product();
  ExpressionPtr parse_power();
  ExpressionPtr parse_unary(bool with_filter = true);
  ExpressionPtr parse_primary(bool with_namespace = false);
  ExpressionPtr parse_list();
  ExpressionPtr parse_dict();
  ExpressionPtr parse_postfix(ExpressionPtr node);
  ExpressionPtr parse_filters_and_tests(ExpressionPtr node);
  ExpressionPtr parse_subscript(ExpressionPtr node);
  ExpressionPtr parse_subscribed();
  ExpressionPtr parse_call(ExpressionPtr node);
  ExpressionPtr parse_filters(ExpressionPtr node, bool without_pipe);
  ExpressionPtr parse_test(ExpressionPtr node);
  std::unique_ptr<CallArguments> parse_arguments(int& height);

  // Tokens.
  [[nodiscard]] const Token& current() const { return tokens_[at_]; }
  [[nodiscard]] const Token& look() const { return tokens_[std::min(at_ + 1, tokens_.size() - 1)]; }
  Token next();
  bool skip_operator(std::string_view text);
  bool skip_name(std::string_view text);
  Token expect(Type type, std::string_view what);
  void expect_operator(std::string_view text);
  void expect_name(std::string_view text);
  [[noreturn]] void fail(std::string message, int line = 0) const;
  [[nodiscard]] static std::string describe(const Token& token);

  // Nodes. Every one knows its height, so that neither evaluating nor freeing it goes too deep.
  template <typename... Children>
  ExpressionPtr make(Kind kind, int line, Children... children);
  void grow(Expression& node, int inner) const;
  ExpressionPtr binary(Operation operation, ExpressionPtr left, ExpressionPtr right, int line);
  void check_filter(const std::string& name, int line);
  void check_test(const std::string& name, int line);

  class Nested;  // one level of recursion

  std::vector<Token> tokens_;
  std::size_t at_ = 0;
  Program program_;
  int depth_ = 0;
  int loops_ = 0;                     // that surround what is parsed, within one macro
  bool soft_ = false;                 // inside an `if`: an unknown filter fails only where it is reached
  std::vector<SyntaxFault> unknown_;  // filters and tests that must be known and are not
  std::vector<MacroCode*> macros_;
};

class Parser::Nested {
 public:
  explicit Nested(Parser& parser);
  ~Nested() { --parser_.depth_; }
  Nested(const Nested&) = delete;
  Nested& operator=(const Nested&) = delete;

 private:
  Parser& parser_;
};

template <typename... Children>
ExpressionPtr Parser::make(Kind kind, int line, Children... children) {
  auto node = std::make_unique<Expression>();
  node->kind = kind;
  node->line = line;
  [[maybe_unused]] const auto add = [&](ExpressionPtr child) {
    if (child) grow(*node, child->height);
    node->children.push_back(std::move(child));
  };
  (add(std::move(children)), ...);
  return node;
}

}  // namespace thinkey::jinja
