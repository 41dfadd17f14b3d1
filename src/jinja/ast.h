// A parsed template.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "jinja/value.h"

namespace thinkey::jinja {

// Names are numbers within one template.
using Symbol = int;

enum class Operation : std::uint8_t {
  Add,
  Subtract,
  Multiply,
  Divide,
  FloorDivide,
  Modulo,
  Power,
  Equal,
  NotEqual,
  Less,
  LessEqual,
  Greater,
  GreaterEqual,
  In,
  NotIn,
  Negate,
  Plus,
};

struct Expression;
using ExpressionPtr = std::unique_ptr<Expression>;

struct CallArguments {
  std::vector<ExpressionPtr> positional;
  std::vector<std::pair<std::string, ExpressionPtr>> named;
  ExpressionPtr more_positional, more_named;  // *args, **kwargs; or null
};

struct Expression {
  enum class Kind : std::uint8_t {
    Constant,            // value
    Name,                // symbol
    NamespaceAttribute,  // symbol.name, as a target
    Tuple,               // children
    List,
    Dict,        // key, value, key, value, ...
    Attribute,   // children[0].name
    Item,        // children[0][children[1]]
    Slice,       // children: start, stop, step; or null
    Call,        // children[0](arguments)
    Filter,      // children[0] | name(arguments); no children: what a block gives
    Test,        // children[0] is name(arguments)
    Binary,      // children[0] operations[0] children[1]
    Unary,       // operations[0] children[0]
    Comparison,  // children[0] operations[0] children[1] operations[1] children[2] ...
    And,
    Or,
    Not,
    Concat,       // children
    Conditional,  // children: value, condition, otherwise or null
  };
  Kind kind = Kind::Constant;
  int line = 1;
  int height = 1;
  Symbol symbol = -1;
  Value value = {};
  std::string name = {};
  std::vector<Operation> operations = {};
  std::vector<ExpressionPtr> children = {};
  std::unique_ptr<CallArguments> arguments = {};
};

struct Statement;
using Statements = std::vector<Statement>;

struct MacroCode {
  struct Parameter {
    Symbol symbol = -1;
    std::string name;
    ExpressionPtr otherwise;  // or null
  };
  std::string name;
  std::vector<Parameter> parameters;
  Statements body;
  bool uses_caller = false, uses_kwargs = false, uses_varargs = false;
};

struct Statement {
  enum class Kind : std::uint8_t {
    Data,         // text
    Output,       // expression
    If,           // branches; a branch without condition is `else`
    For,          // target in expression if condition: body else otherwise
    Set,          // target = expression
    SetBlock,     // target = expression (filters, or null) of body
    Macro,        // macro
    CallBlock,    // expression, a call, with macro as its caller
    FilterBlock,  // expression of body
    With,         // assignments, body
    Block,        // body
    Scope,        // body in a scope of its own: {% generation %}
    Break,
    Continue,
  };
  struct Branch {
    ExpressionPtr condition;
    Statements body;
  };
  Kind kind = Kind::Data;
  int line = 1;
  bool recursive = false;  // For
  bool scoped = false;     // Block
  Symbol symbol = -1;      // Macro: its name
  std::string text = {};
  ExpressionPtr expression = {}, condition = {}, target = {};
  Statements body = {}, otherwise = {};
  std::vector<Branch> branches = {};
  std::vector<std::pair<ExpressionPtr, ExpressionPtr>> assignments = {};
  std::unique_ptr<MacroCode> macro = {};
};

struct Program {
  Statements body;
  std::vector<std::string> names;  // per symbol
  std::unordered_map<std::string, Symbol> symbols;
  Symbol loop = -1, caller = -1, kwargs = -1, varargs = -1;

  [[nodiscard]] Symbol symbol(std::string_view name) {
    const auto [place, added] = symbols.try_emplace(std::string(name), static_cast<Symbol>(names.size()));
    if (added) names.emplace_back(name);
    return place->second;
  }
};

// Throws SyntaxFault (lexer.h).
[[nodiscard]] Program parse(std::string_view source);

}  // namespace thinkey::jinja
