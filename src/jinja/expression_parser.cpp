#include <algorithm>
#include <charconv>
#include <cstdint>
#include <cstdlib>

#include "jinja/filters.h"
#include "jinja/parser.h"
#include "jinja/tests.h"

namespace thinkey::jinja {

namespace {

// Of an expression's tree. Chains such as a + b + c + ... make trees as deep as they are long.
constexpr int kMostHeight = 300;
constexpr int kMostNesting = 250;

}  // namespace

Parser::Nested::Nested(Parser& parser) : parser_(parser) {
  if (parser_.depth_ >= kMostNesting) parser_.fail(fmt::format("nested deeper than {} levels", kMostNesting));
  ++parser_.depth_;
}

void Parser::grow(Expression& node, int inner) const {
  node.height = std::max(node.height, inner + 1);
  if (node.height > kMostHeight)
    fail(fmt::format("an expression of more than {} steps", kMostHeight), node.line);
}

ExpressionPtr Parser::binary(Operation operation, ExpressionPtr left, ExpressionPtr right, int line) {
  ExpressionPtr node = make(Kind::Binary, line, std::move(left), std::move(right));
  node->operations = {operation};
  return node;
}

ExpressionPtr Parser::parse_tuple(const TupleRules& rules) {
  const Nested nested(*this);
  const int line = current().line;
  const auto at_end = [&] {
    const Token& token = current();
    return token.is(Type::VariableEnd) || token.is(Type::BlockEnd) || token.is_operator(")") ||
           (!rules.end_name.empty() && token.is_name(rules.end_name));
  };
  std::vector<ExpressionPtr> items;
  bool is_tuple = false;
  while (true) {
    if (!items.empty()) expect_operator(",");
    if (at_end()) break;
    items.push_back(rules.simplified ? parse_primary(rules.with_namespace)
                                     : parse_expression(rules.conditional));
    if (!current().is_operator(",")) break;
    is_tuple = true;
  }
  if (!is_tuple) {
    if (!items.empty()) return std::move(items.front());
    if (!rules.parentheses) fail("Expected an expression, got " + describe(current()));
  }
  ExpressionPtr node = make(Kind::Tuple, line);
  for (const ExpressionPtr& item : items) grow(*node, item->height);
  node->children = std::move(items);
  return node;
}

ExpressionPtr Parser::parse_expression(bool conditional) {
  const Nested nested(*this);
  if (!conditional) return parse_or();
  int line = current().line;
  const std::size_t unknown = unknown_.size();
  ExpressionPtr value = parse_or();
  const bool soft = soft_;
  while (skip_name("if")) {
    unknown_.resize(unknown);
    soft_ = true;
    ExpressionPtr condition = parse_or();
    ExpressionPtr otherwise;
    if (skip_name("else")) otherwise = parse_expression();
    value = make(Kind::Conditional, line, std::move(value), std::move(condition), std::move(otherwise));
    line = current().line;
  }
  soft_ = soft;
  return value;
}

ExpressionPtr Parser::parse_or() {
  ExpressionPtr left = parse_and();
  while (current().is_name("or")) {
    const int line = next().line;
    left = make(Kind::Or, line, std::move(left), parse_and());
  }
  return left;
}

ExpressionPtr Parser::parse_and() {
  ExpressionPtr left = parse_not();
  while (current().is_name("and")) {
    const int line = next().line;
    left = make(Kind::And, line, std::move(left), parse_not());
  }
  return left;
}

ExpressionPtr Parser::parse_not() {
  if (!current().is_name("not")) return parse_comparison();
  const Nested nested(*this);
  const int line = next().line;
  return make(Kind::Not, line, parse_not());
}

ExpressionPtr Parser::parse_comparison() {
  static constexpr std::pair<std::string_view, Operation> kOperators[] = {
      {"==", Operation::Equal},     {"!=", Operation::NotEqual}, {"<", Operation::Less},
      {"<=", Operation::LessEqual}, {">", Operation::Greater},   {">=", Operation::GreaterEqual},
  };
  const int line = current().line;
  ExpressionPtr node = parse_sum();
  ExpressionPtr comparison;
  const auto add = [&](Operation operation) {
    if (!comparison) comparison = make(Kind::Comparison, line, std::move(node));
    comparison->operations.push_back(operation);
    ExpressionPtr right = parse_sum();
    grow(*comparison, right->height);
    comparison->children.push_back(std::move(right));
  };
  while (true) {
    const auto* known = std::find_if(std::begin(kOperators), std::end(kOperators),
                                     [&](const auto& entry) { return current().is_operator(entry.first); });
    if (known != std::end(kOperators)) {
      next();
      add(known->second);
    } else if (skip_name("in")) {
      add(Operation::In);
    } else if (current().is_name("not") && look().is_name("in")) {
      next();
      next();
      add(Operation::NotIn);
    } else {
      break;
    }
  }
  return comparison ? std::move(comparison) : std::move(node);
}

ExpressionPtr Parser::parse_sum() {
  ExpressionPtr left = parse_concat();
  while (current().is_operator("+") || current().is_operator("-")) {
    const Token token = next();
    left = binary(token.text == "+" ? Operation::Add : Operation::Subtract, std::move(left), parse_concat(),
                  token.line);
  }
  return left;
}

ExpressionPtr Parser::parse_concat() {
  ExpressionPtr first = parse_product();
  if (!current().is_operator("~")) return first;
  ExpressionPtr node = make(Kind::Concat, first->line);
  grow(*node, first->height);
  node->children.push_back(std::move(first));
  while (skip_operator("~")) {
    ExpressionPtr part = parse_product();
    grow(*node, part->height);
    node->children.push_back(std::move(part));
  }
  return node;
}

ExpressionPtr Parser::parse_product() {
  static constexpr std::pair<std::string_view, Operation> kOperators[] = {
      {"*", Operation::Multiply},
      {"/", Operation::Divide},
      {"//", Operation::FloorDivide},
      {"%", Operation::Modulo},
  };
  ExpressionPtr left = parse_power();
  while (true) {
    const auto* known = std::find_if(std::begin(kOperators), std::end(kOperators),
                                     [&](const auto& entry) { return current().is_operator(entry.first); });
    if (known == std::end(kOperators)) return left;
    const int line = next().line;
    left = binary(known->second, std::move(left), parse_power(), line);
  }
}

ExpressionPtr Parser::parse_power() {
  ExpressionPtr left = parse_unary();
  while (current().is_operator("**")) {
    const int line = next().line;
    left = binary(Operation::Power, std::move(left), parse_unary(), line);
  }
  return left;
}

ExpressionPtr Parser::parse_unary(bool with_filter) {
  const Nested nested(*this);
  ExpressionPtr node;
  if (current().is_operator("-") || current().is_operator("+")) {
    const Token token = next();
    node = make(Kind::Unary, token.line, parse_unary(false));
    node->operations = {token.text == "-" ? Operation::Negate : Operation::Plus};
  } else {
    node = parse_primary();
  }
  node = parse_postfix(std::move(node));
  return with_filter ? parse_filters_and_tests(std::move(node)) : std::move(node);
}

ExpressionPtr Parser::parse_primary(bool with_namespace) {
  const Token token = current();
  const auto constant = [&](Value value) {
    ExpressionPtr node = make(Kind::Constant, token.line);
    node->value = std::move(value);
    return node;
  };
  switch (token.type) {
    case Type::Name: {
      next();
      const std::string& name = token.text;
      if (name == "true" || name == "True") return constant(Value(true));
      if (name == "false" || name == "False") return constant(Value(false));
      if (name == "none" || name == "None") return constant(Value::none());
      const bool is_attribute = with_namespace && skip_operator(".");
      ExpressionPtr node = make(is_attribute ? Kind::NamespaceAttribute : Kind::Name, token.line);
      node->symbol = program_.symbol(name);
      node->name = is_attribute ? expect(Type::Name, "name").text : name;
      for (MacroCode* macro : macros_) {
        macro->uses_caller = macro->uses_caller || name == "caller";
        macro->uses_kwargs = macro->uses_kwargs || name == "kwargs";
        macro->uses_varargs = macro->uses_varargs || name == "varargs";
      }
      return node;
    }
    case Type::String: {
      std::string text = next().text;
      while (current().is(Type::String)) text += next().text;
      return constant(Value(std::move(text)));
    }
    case Type::Integer: {
      next();
      const char prefix =
          token.text.size() > 1 && token.text[0] == '0' ? static_cast<char>(token.text[1] | 0x20) : '0';
      const int base = prefix == 'x' ? 16 : prefix == 'o' ? 8 : prefix == 'b' ? 2 : 10;
      const char* begin = token.text.data() + (base == 10 ? 0 : 2);
      std::int64_t number = 0;
      if (std::from_chars(begin, token.text.data() + token.text.size(), number, base).ec != std::errc()) {
        fail("an integer beyond 64 bits", token.line);
      }
      return constant(Value(number));
    }
    case Type::Float:
      next();
      return constant(Value(std::strtod(token.text.c_str(), nullptr)));
    default:
      break;
  }
  if (token.is_operator("(")) {
    next();
    ExpressionPtr node = parse_tuple({.parentheses = true});
    expect_operator(")");
    return node;
  }
  if (token.is_operator("[")) return parse_list();
  if (token.is_operator("{")) return parse_dict();
  fail("unexpected " + describe(token), token.line);
}

ExpressionPtr Parser::parse_list() {
  const int line = next().line;
  ExpressionPtr node = make(Kind::List, line);
  while (!current().is_operator("]")) {
    if (!node->children.empty()) expect_operator(",");
    if (current().is_operator("]")) break;
    ExpressionPtr item = parse_expression();
    grow(*node, item->height);
    node->children.push_back(std::move(item));
  }
  expect_operator("]");
  return node;
}

ExpressionPtr Parser::parse_dict() {
  const int line = next().line;
  ExpressionPtr node = make(Kind::Dict, line);
  const auto add = [&] {
    ExpressionPtr part = parse_expression();
    grow(*node, part->height);
    node->children.push_back(std::move(part));
  };
  while (!current().is_operator("}")) {
    if (!node->children.empty()) expect_operator(",");
    if (current().is_operator("}")) break;
    add();
    expect_operator(":");
    add();
  }
  expect_operator("}");
  return node;
}

ExpressionPtr Parser::parse_postfix(ExpressionPtr node) {
  while (true) {
    if (current().is_operator(".") || current().is_operator("[")) {
      node = parse_subscript(std::move(node));
    } else if (current().is_operator("(")) {
      node = parse_call(std::move(node));
    } else {
      return node;
    }
  }
}

ExpressionPtr Parser::parse_filters_and_tests(ExpressionPtr node) {
  while (true) {
    if (current().is_operator("|")) {
      node = parse_filters(std::move(node), false);
    } else if (current().is_name("is")) {
      node = parse_test(std::move(node));
    } else if (current().is_operator("(")) {
      node = parse_call(std::move(node));
    } else {
      return node;
    }
  }
}

ExpressionPtr Parser::parse_subscript(ExpressionPtr node) {
  const Token token = next();
  if (token.text == ".") {
    const Token name = next();
    if (name.is(Type::Name)) {
      ExpressionPtr out = make(Kind::Attribute, token.line, std::move(node));
      out->name = name.text;
      return out;
    }
    if (!name.is(Type::Integer)) fail("expected name or number", name.line);
    ExpressionPtr index = make(Kind::Constant, name.line);
    std::int64_t number = 0;
    if (std::from_chars(name.text.data(), name.text.data() + name.text.size(), number).ec != std::errc()) {
      fail("an integer beyond 64 bits", name.line);
    }
    index->value = Value(number);
    return make(Kind::Item, token.line, std::move(node), std::move(index));
  }
  std::vector<ExpressionPtr> indices;
  while (!current().is_operator("]")) {
    if (!indices.empty()) expect_operator(",");
    indices.push_back(parse_subscribed());
  }
  expect_operator("]");
  if (indices.size() == 1) return make(Kind::Item, token.line, std::move(node), std::move(indices.front()));
  ExpressionPtr index = make(Kind::Tuple, token.line);
  for (const ExpressionPtr& part : indices) {
    if (part->kind == Kind::Slice) fail("slices in a tuple are not supported", token.line);
    grow(*index, part->height);
  }
  index->children = std::move(indices);
  return make(Kind::Item, token.line, std::move(node), std::move(index));
}

ExpressionPtr Parser::parse_subscribed() {
  const int line = current().line;
  ExpressionPtr start, stop, step;
  if (!skip_operator(":")) {
    start = parse_expression();
    if (!skip_operator(":")) return start;
  }
  const auto ends = [&] { return current().is_operator("]") || current().is_operator(","); };
  if (!current().is_operator(":") && !ends()) stop = parse_expression();
  if (skip_operator(":") && !ends()) step = parse_expression();
  return make(Kind::Slice, line, std::move(start), std::move(stop), std::move(step));
}

std::unique_ptr<CallArguments> Parser::parse_arguments(int& height) {
  const int line = current().line;
  expect_operator("(");
  auto arguments = std::make_unique<CallArguments>();
  const auto ensure = [&](bool good) {
    if (!good) fail("invalid syntax for function call expression", line);
  };
  const auto parse = [&] {
    ExpressionPtr node = parse_expression();
    height = std::max(height, node->height);
    return node;
  };
  bool needs_comma = false;
  while (!current().is_operator(")")) {
    if (needs_comma) {
      expect_operator(",");
      if (current().is_operator(")")) break;
    }
    if (skip_operator("*")) {
      ensure(!arguments->more_positional && !arguments->more_named);
      arguments->more_positional = parse();
    } else if (skip_operator("**")) {
      ensure(!arguments->more_named);
      arguments->more_named = parse();
    } else if (current().is(Type::Name) && look().is_operator("=")) {
      ensure(!arguments->more_named);
      std::string name = next().text;
      next();
      for (const auto& [known, value] : arguments->named) {
        if (known == name) fail(fmt::format("keyword argument repeated: {}", name), line);
      }
      arguments->named.emplace_back(std::move(name), parse());
    } else {
      ensure(!arguments->more_positional && !arguments->more_named && arguments->named.empty());
      arguments->positional.push_back(parse());
    }
    needs_comma = true;
  }
  expect_operator(")");
  return arguments;
}

ExpressionPtr Parser::parse_call(ExpressionPtr node) {
  const int line = current().line;
  int height = node->height;
  auto arguments = parse_arguments(height);
  ExpressionPtr call = make(Kind::Call, line, std::move(node));
  grow(*call, height);
  call->arguments = std::move(arguments);
  return call;
}

ExpressionPtr Parser::parse_filters(ExpressionPtr node, bool without_pipe) {
  while (std::exchange(without_pipe, false) || skip_operator("|")) {
    const Token token = expect(Type::Name, "name");
    std::string name = token.text;
    while (skip_operator(".")) name.append(1, '.').append(expect(Type::Name, "name").text);
    check_filter(name, token.line);
    int height = 0;
    auto arguments = current().is_operator("(") ? parse_arguments(height) : std::make_unique<CallArguments>();
    ExpressionPtr filter = make(Kind::Filter, token.line, std::move(node));
    grow(*filter, height);
    filter->name = std::move(name);
    filter->arguments = std::move(arguments);
    node = std::move(filter);
  }
  return node;
}

ExpressionPtr Parser::parse_test(ExpressionPtr node) {
  const int line = next().line;
  const bool negated = skip_name("not");
  std::string name = expect(Type::Name, "name").text;
  while (skip_operator(".")) name.append(1, '.').append(expect(Type::Name, "name").text);
  check_test(name, line);
  int height = 0;
  auto arguments = std::make_unique<CallArguments>();
  const Token& token = current();
  const bool takes_value = token.is(Type::Name) || token.is(Type::String) || token.is(Type::Integer) ||
                           token.is(Type::Float) || token.is_operator("[") || token.is_operator("{");
  if (token.is_operator("(")) {
    arguments = parse_arguments(height);
  } else if (takes_value && !token.is_name("else") && !token.is_name("or") && !token.is_name("and")) {
    if (token.is_name("is")) fail("You cannot chain multiple tests with is");
    ExpressionPtr argument = parse_postfix(parse_primary());
    height = argument->height;
    arguments->positional.push_back(std::move(argument));
  }
  ExpressionPtr test = make(Kind::Test, line, std::move(node));
  grow(*test, height);
  test->name = std::move(name);
  test->arguments = std::move(arguments);
  return negated ? make(Kind::Not, line, std::move(test)) : std::move(test);
}

void Parser::check_filter(const std::string& name, int line) {
  if (!soft_ && find_filter(name) == nullptr)
    unknown_.push_back({fmt::format("No filter named '{}'.", name), line});
}

void Parser::check_test(const std::string& name, int line) {
  if (!soft_ && find_test(name) == nullptr)
    unknown_.push_back({fmt::format("No test named '{}'.", name), line});
}

}  // namespace thinkey::jinja
