#include "jinja/parser.h"

#include <algorithm>
#include <array>
#include <utility>

namespace thinkey::jinja {

namespace {

// Sets a variable for as long as it lives.
template <typename T>
class Temporarily {
 public:
  Temporarily(T& place, T value) : place_(place), before_(std::exchange(place, value)) {}
  ~Temporarily() { place_ = before_; }
  Temporarily(const Temporarily&) = delete;
  Temporarily& operator=(const Temporarily&) = delete;

 private:
  T& place_;
  T before_;
};

Statement statement(Statement::Kind kind, int line) {
  Statement out;
  out.kind = kind;
  out.line = line;
  return out;
}

}  // namespace

Program parse(std::string_view source) { return Parser(source).run(); }

Parser::Parser(std::string_view source) : tokens_(tokenize(source)) {
  program_.loop = program_.symbol("loop");
  program_.caller = program_.symbol("caller");
  program_.kwargs = program_.symbol("kwargs");
  program_.varargs = program_.symbol("varargs");
}

Program Parser::run() {
  program_.body = parse_body({});
  if (!unknown_.empty()) throw unknown_.front();
  return std::move(program_);
}

Token Parser::next() {
  Token token = tokens_[at_];
  if (at_ + 1 < tokens_.size()) ++at_;
  return token;
}

bool Parser::skip_operator(std::string_view text) {
  const bool found = current().is_operator(text);
  if (found) next();
  return found;
}

bool Parser::skip_name(std::string_view text) {
  const bool found = current().is_name(text);
  if (found) next();
  return found;
}

Token Parser::expect(Type type, std::string_view what) {
  if (!current().is(type)) fail(fmt::format("expected {}, got {}", what, describe(current())));
  return next();
}

void Parser::expect_operator(std::string_view text) {
  if (!skip_operator(text)) fail(fmt::format("expected token '{}', got {}", text, describe(current())));
}

void Parser::expect_name(std::string_view text) {
  if (!skip_name(text)) fail(fmt::format("expected token '{}', got {}", text, describe(current())));
}

void Parser::fail(std::string message, int line) const {
  throw SyntaxFault{std::move(message), line > 0 ? line : current().line};
}

std::string Parser::describe(const Token& token) {
  switch (token.type) {
    case Type::Data:
      return "text";
    case Type::VariableBegin:
      return "'{{'";
    case Type::VariableEnd:
      return "'}}'";
    case Type::BlockBegin:
      return "'{%'";
    case Type::BlockEnd:
      return "'%}'";
    case Type::String:
      return "a string";
    case Type::End:
      return "the end of the template";
    default:
      return fmt::format("'{}'", token.text);
  }
}

Statements Parser::parse_body(std::initializer_list<std::string_view> ends) {
  const Nested nested(*this);
  const int begun = current().line;
  Statements body;
  while (true) {
    const Token& token = current();
    switch (token.type) {
      case Type::Data: {
        Statement data = statement(Statement::Kind::Data, token.line);
        data.text = next().text;
        body.push_back(std::move(data));
        break;
      }
      case Type::VariableBegin: {
        Statement output = statement(Statement::Kind::Output, next().line);
        output.expression = parse_tuple({});
        expect(Type::VariableEnd, "'}}'");
        body.push_back(std::move(output));
        break;
      }
      case Type::BlockBegin: {
        next();
        const bool ended = std::any_of(ends.begin(), ends.end(),
                                       [&](std::string_view end) { return current().is_name(end); });
        if (ended) return body;
        if (current().is_name("print")) {
          const int line = next().line;
          bool first = true;
          while (!current().is(Type::BlockEnd)) {
            if (!std::exchange(first, false)) expect_operator(",");
            Statement output = statement(Statement::Kind::Output, line);
            output.expression = parse_expression();
            body.push_back(std::move(output));
          }
        } else {
          body.push_back(parse_statement());
        }
        expect(Type::BlockEnd, "'%}'");
        break;
      }
      default:
        if (ends.size() > 0) {
          fail(fmt::format("the end of the template, where '{}' was looked for", *(ends.end() - 1)), begun);
        }
        return body;
    }
  }
}

Statement Parser::parse_statement() {
  const Token token = current();
  if (!token.is(Type::Name)) fail("tag name expected");
  const std::string& tag = token.text;
  if (tag == "if") return parse_if();
  if (tag == "for") return parse_for();
  if (tag == "set") return parse_set();
  if (tag == "macro") return parse_macro();
  if (tag == "call") return parse_call_block();
  if (tag == "filter") return parse_filter_block();
  if (tag == "with") return parse_with();
  if (tag == "block") return parse_block();
  if (tag == "generation") {
    next();
    Statement out = statement(Statement::Kind::Scope, token.line);
    out.body = parse_inner("endgeneration");
    return out;
  }
  if (tag == "break" || tag == "continue") {
    if (loops_ == 0) fail(fmt::format("'{}' outside loop", tag));
    next();
    return statement(tag == "break" ? Statement::Kind::Break : Statement::Kind::Continue, token.line);
  }
  static constexpr std::array<std::string_view, 5> kOther = {"include", "import", "from", "extends",
                                                             "autoescape"};
  if (std::find(kOther.begin(), kOther.end(), tag) != kOther.end()) {
    fail(fmt::format("'{}' is not available in chat templates", tag));
  }
  fail(fmt::format("Encountered unknown tag '{}'.", tag));
}

Statements Parser::parse_inner(std::string_view end) {
  const Temporarily no_loops(loops_, 0);
  const Temporarily hard(soft_, false);
  skip_operator(":");
  expect(Type::BlockEnd, "'%}'");
  Statements body = parse_body({end});
  next();
  return body;
}

Statement Parser::parse_if() {
  Statement out = statement(Statement::Kind::If, next().line);
  const Temporarily soft(soft_, true);
  while (true) {
    Statement::Branch branch;
    branch.condition = parse_tuple({.conditional = false});
    skip_operator(":");
    expect(Type::BlockEnd, "'%}'");
    branch.body = parse_body({"elif", "else", "endif"});
    out.branches.push_back(std::move(branch));
    const Token tag = next();
    if (tag.is_name("elif")) continue;
    if (tag.is_name("else")) {
      skip_operator(":");
      expect(Type::BlockEnd, "'%}'");
      out.branches.push_back({nullptr, parse_body({"endif"})});
      next();
    }
    return out;
  }
}

Statement Parser::parse_for() {
  Statement out = statement(Statement::Kind::For, next().line);
  out.target = parse_target(false, "in");
  expect_name("in");
  out.expression = parse_tuple({.conditional = false, .end_name = "recursive"});
  {
    const Temporarily hard(soft_, false);
    if (skip_name("if")) out.condition = parse_expression();
  }
  out.recursive = skip_name("recursive");
  skip_operator(":");
  expect(Type::BlockEnd, "'%}'");
  const Temporarily hard(soft_, false);
  {
    const Temporarily inside(loops_, loops_ + 1);
    out.body = parse_body({"endfor", "else"});
  }
  if (next().text == "else") {
    skip_operator(":");
    expect(Type::BlockEnd, "'%}'");
    out.otherwise = parse_body({"endfor"});
    next();
  }
  return out;
}

Statement Parser::parse_set() {
  Statement out = statement(Statement::Kind::Set, next().line);
  out.target = parse_target(true, {});
  if (skip_operator("=")) {
    out.expression = parse_tuple({});
    return out;
  }
  out.kind = Statement::Kind::SetBlock;
  out.expression = parse_filters(nullptr, false);
  out.body = parse_inner("endset");
  return out;
}

ExpressionPtr Parser::parse_target(bool with_namespace, std::string_view end_name) {
  ExpressionPtr target =
      parse_tuple({.simplified = true, .with_namespace = with_namespace, .end_name = end_name});
  const auto assignable = [&](const Expression& node) {
    if (node.kind == Kind::NamespaceAttribute) return true;
    if (node.kind != Kind::Name) return false;
    if (!with_namespace && node.symbol == program_.loop) {
      fail("can't assign to special loop variable in for-loop target", node.line);
    }
    return true;
  };
  std::vector<const Expression*> open = {target.get()};
  while (!open.empty()) {
    const Expression* node = open.back();
    open.pop_back();
    if (node->kind == Kind::Tuple || node->kind == Kind::List) {
      for (const ExpressionPtr& child : node->children) open.push_back(child.get());
    } else if (!assignable(*node)) {
      fail("can't assign to this", node->line);
    }
  }
  return target;
}

ExpressionPtr Parser::parse_name_target() {
  const Token token = expect(Type::Name, "name");
  for (const char* fixed : {"true", "false", "none", "True", "False", "None"}) {
    if (token.text == fixed) fail(fmt::format("can't assign to '{}'", fixed), token.line);
  }
  ExpressionPtr node = make(Kind::Name, token.line);
  node->symbol = program_.symbol(token.text);
  node->name = token.text;
  return node;
}

void Parser::parse_signature(MacroCode& macro) {
  expect_operator("(");
  bool has_default = false;
  while (!current().is_operator(")")) {
    if (!macro.parameters.empty()) expect_operator(",");
    const ExpressionPtr name = parse_name_target();
    for (const MacroCode::Parameter& known : macro.parameters) {
      if (known.symbol == name->symbol) fail(fmt::format("duplicate argument '{}'", name->name));
    }
    MacroCode::Parameter parameter{name->symbol, name->name, nullptr};
    if (skip_operator("=")) {
      parameter.otherwise = parse_expression();
      has_default = true;
    } else if (has_default) {
      fail("non-default argument follows default argument");
    }
    macro.parameters.push_back(std::move(parameter));
  }
  expect_operator(")");
}

Statements Parser::parse_macro_body(MacroCode& macro, std::string_view end) {
  macros_.push_back(&macro);
  Statements body = parse_inner(end);
  macros_.pop_back();
  return body;
}

Statement Parser::parse_macro() {
  Statement out = statement(Statement::Kind::Macro, next().line);
  const ExpressionPtr name = parse_name_target();
  out.symbol = name->symbol;
  out.macro = std::make_unique<MacroCode>();
  out.macro->name = name->name;
  {
    const Temporarily hard(soft_, false);
    parse_signature(*out.macro);
  }
  out.macro->body = parse_macro_body(*out.macro, "endmacro");
  return out;
}

Statement Parser::parse_call_block() {
  Statement out = statement(Statement::Kind::CallBlock, next().line);
  out.macro = std::make_unique<MacroCode>();
  out.macro->name = "caller";
  if (current().is_operator("(")) parse_signature(*out.macro);
  out.expression = parse_expression();
  if (out.expression->kind != Kind::Call) fail("expected call", out.line);
  out.macro->body = parse_macro_body(*out.macro, "endcall");
  return out;
}

Statement Parser::parse_filter_block() {
  Statement out = statement(Statement::Kind::FilterBlock, next().line);
  out.expression = parse_filters(nullptr, true);
  out.body = parse_inner("endfilter");
  return out;
}

Statement Parser::parse_with() {
  Statement out = statement(Statement::Kind::With, next().line);
  while (!current().is(Type::BlockEnd) && !current().is_operator(":")) {
    if (!out.assignments.empty()) expect_operator(",");
    ExpressionPtr target = parse_target(false, {});
    expect_operator("=");
    out.assignments.emplace_back(std::move(target), parse_expression());
  }
  const int loops = loops_;
  const Temporarily hard(soft_, false);
  skip_operator(":");
  expect(Type::BlockEnd, "'%}'");
  loops_ = loops;
  out.body = parse_body({"endwith"});
  next();
  return out;
}

Statement Parser::parse_block() {
  Statement out = statement(Statement::Kind::Block, next().line);
  const std::string name = expect(Type::Name, "name").text;
  out.scoped = skip_name("scoped");
  if (current().is_name("required")) fail("'required' blocks are not available in chat templates");
  out.body = parse_inner("endblock");
  skip_name(name);
  return out;
}

}  // namespace thinkey::jinja
