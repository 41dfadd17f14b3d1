// Template text to tokens, with Jinja's whitespace control as transformers sets it: trim_blocks,
// lstrip_blocks, and the template's last newline dropped.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace thinkey::jinja {

struct Token {
  enum class Type : std::uint8_t {
    Data,
    VariableBegin,
    VariableEnd,
    BlockBegin,
    BlockEnd,
    Name,
    String,
    Integer,
    Float,
    Operator,
    End,
  };
  Type type = Type::End;
  int line = 1;
  std::string text;  // Data, Name, Operator as written; String unescaped; numbers without underscores

  [[nodiscard]] bool is(Type wanted) const noexcept { return type == wanted; }
  [[nodiscard]] bool is_operator(std::string_view wanted) const noexcept {
    return type == Type::Operator && text == wanted;
  }
  [[nodiscard]] bool is_name(std::string_view wanted) const noexcept {
    return type == Type::Name && text == wanted;
  }
};

// A fault with its line, while a template is read.
struct SyntaxFault {
  std::string message;
  int line = 1;
};

// The last token is End. Throws SyntaxFault.
[[nodiscard]] std::vector<Token> tokenize(std::string_view source);

}  // namespace thinkey::jinja
