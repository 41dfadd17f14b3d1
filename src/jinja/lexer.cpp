#include "jinja/lexer.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "jinja/unicode.h"

namespace thinkey::jinja {

namespace {

constexpr std::array<std::string_view, 25> kOperators = {"//", "**", "==", "!=", ">=", "<=", "+", "-", "/",
                                                         "*",  "%",  "~",  "[",  "]",  "(",  ")", "{", "}",
                                                         ">",  "<",  "=",  ".",  ":",  "|",  ","};

// Python's line ends become \n, and the last one goes.
std::string normalized(std::string_view source) {
  std::string text;
  text.reserve(source.size());
  for (std::size_t i = 0; i < source.size(); ++i) {
    if (source[i] == '\r') {
      text += '\n';
      if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
    } else {
      text += source[i];
    }
  }
  if (text.ends_with('\n')) text.pop_back();
  return text;
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }

class Lexer {
 public:
  explicit Lexer(std::string_view source) : source_(normalized(source)) {}

  std::vector<Token> run() {
    while (at_ < source_.size()) read_data();
    add(Token::Type::End, {});
    return std::move(tokens_);
  }

 private:
  using Type = Token::Type;

  [[noreturn]] void fail(std::string message) const { throw SyntaxFault{std::move(message), line_}; }

  void add(Type type, std::string text) { tokens_.push_back({type, line_, std::move(text)}); }

  [[nodiscard]] bool ahead(std::string_view text) const {
    return std::string_view(source_).substr(at_, text.size()) == text;
  }
  [[nodiscard]] char peek(std::size_t offset = 0) const {
    return at_ + offset < source_.size() ? source_[at_ + offset] : '\0';
  }

  // Moves on, counting lines.
  void skip_to(std::size_t end) {
    line_ += static_cast<int>(std::count(source_.begin() + static_cast<std::ptrdiff_t>(at_),
                                         source_.begin() + static_cast<std::ptrdiff_t>(end), '\n'));
    line_starting_ = end > at_ ? source_[end - 1] == '\n' : line_starting_;
    at_ = end;
  }
  [[nodiscard]] std::size_t after_spaces(std::size_t from) const {
    while (from < source_.size() && is_space(character_at(source_, from))) {
      from += character_bytes(source_, from);
    }
    return from;
  }

  // Text up to a tag, shortened as the tag's sign says.
  [[nodiscard]] std::string stripped(std::string_view text, char sign, bool is_variable) const {
    if (sign == '-') return std::string(strip(text, Ends::Right));
    if (sign != '+' && !is_variable) {
      const std::size_t newline = text.rfind('\n');
      const std::size_t begin = newline == std::string_view::npos ? 0 : newline + 1;
      if ((begin > 0 || line_starting_) && strip(text.substr(begin), Ends::Both).empty()) {
        return std::string(text.substr(0, begin));
      }
    }
    return std::string(text);
  }

  void add_data(std::string text) {
    if (!text.empty()) add(Type::Data, std::move(text));
  }

  void read_data() {
    std::size_t tag = at_;
    while (true) {
      tag = source_.find('{', tag);
      if (tag == std::string::npos) {
        add_data(source_.substr(at_));
        skip_to(source_.size());
        return;
      }
      const char kind = tag + 1 < source_.size() ? source_[tag + 1] : '\0';
      if (kind == '{' || kind == '%' || kind == '#') break;
      ++tag;
    }
    const char kind = source_[tag + 1];
    std::size_t inside = tag + 2;
    char sign = '\0';
    if (inside < source_.size() && (source_[inside] == '-' || source_[inside] == '+'))
      sign = source_[inside++];
    add_data(stripped(std::string_view(source_).substr(at_, tag - at_), sign, kind == '{'));
    skip_to(inside);
    if (kind == '#') {
      read_comment();
    } else if (kind == '{') {
      add(Type::VariableBegin, {});
      read_tag(true);
    } else if (!read_raw()) {
      add(Type::BlockBegin, {});
      read_tag(false);
    }
  }

  // After `close` with the sign before it: '-' takes all spaces with it, none takes a newline.
  void finish_tag(std::size_t close, char sign, bool trims_newline) {
    std::size_t end = close + 2;
    if (sign == '-') {
      end = after_spaces(end);
    } else if (sign == '\0' && trims_newline && end < source_.size() && source_[end] == '\n') {
      ++end;
    }
    skip_to(end);
  }

  void read_comment() {
    if (at_ >= source_.size()) return;  // as Jinja has it: nothing follows, nothing is missed
    const std::size_t close = source_.find("#}", at_);
    if (close == std::string::npos) fail("Missing end of comment tag");
    const char before = close > at_ ? source_[close - 1] : '\0';
    finish_tag(close, before == '-' || before == '+' ? before : '\0', true);
  }

  // The end of a block tag at `from` (spaces skipped): its sign, and where "%}" stands. npos: no end here.
  [[nodiscard]] std::pair<std::size_t, char> block_end(std::size_t from) const {
    from = after_spaces(from);
    char sign = '\0';
    if (from < source_.size() && (source_[from] == '-' || source_[from] == '+')) sign = source_[from++];
    if (std::string_view(source_).substr(from, 2) != "%}") return {std::string::npos, '\0'};
    return {from, sign};
  }

  // {% raw %} ... {% endraw %}; false: another block.
  bool read_raw() {
    const std::size_t word = after_spaces(at_);
    if (std::string_view(source_).substr(word, 3) != "raw") return false;
    const auto [close, sign] = block_end(word + 3);
    if (close == std::string::npos || sign == '+') return false;
    finish_tag(close, sign, false);
    if (at_ >= source_.size()) return true;
    for (std::size_t tag = source_.find("{%", at_); tag != std::string::npos;
         tag = source_.find("{%", tag + 2)) {
      std::size_t inside = tag + 2;
      char opening = '\0';
      if (inside < source_.size() && (source_[inside] == '-' || source_[inside] == '+')) {
        opening = source_[inside++];
      }
      inside = after_spaces(inside);
      if (std::string_view(source_).substr(inside, 6) != "endraw") continue;
      const auto [end, closing] = block_end(inside + 6);
      if (end == std::string::npos) continue;
      add_data(stripped(std::string_view(source_).substr(at_, tag - at_), opening, false));
      finish_tag(end, closing, true);
      return true;
    }
    fail("Missing end of raw directive");
  }

  // Does the tag end here? Takes its end.
  bool take_end(bool is_variable) {
    if (!brackets_.empty()) return false;
    char sign = '\0';
    std::size_t close = at_;
    if (peek() == '-' || (!is_variable && peek() == '+')) {
      sign = peek();
      ++close;
    }
    if (std::string_view(source_).substr(close, 2) != (is_variable ? "}}" : "%}")) return false;
    add(is_variable ? Type::VariableEnd : Type::BlockEnd, {});
    finish_tag(close, sign, !is_variable);
    return true;
  }

  void read_tag(bool is_variable) {
    brackets_.clear();
    while (true) {
      if (take_end(is_variable)) return;
      if (at_ >= source_.size()) return;  // the parser misses the end
      if (const std::size_t next = after_spaces(at_); next > at_) {
        skip_to(next);
        continue;
      }
      const char c = peek();
      if (is_digit(c)) {
        read_number();
      } else if (c == '\'' || c == '"') {
        read_string();
      } else if (is_word(character_at(source_, at_))) {
        read_name();
      } else {
        read_operator();
      }
    }
  }

  // Digits with single underscores between them, from `from`; where they end.
  [[nodiscard]] std::size_t digits_end(std::size_t from) const {
    std::size_t end = from;
    while (end < source_.size()) {
      if (is_digit(source_[end])) {
        ++end;
      } else if (source_[end] == '_' && end > from && end + 1 < source_.size() &&
                 is_digit(source_[end + 1])) {
        ++end;
      } else {
        break;
      }
    }
    return end;
  }

  void add_number(Type type, std::size_t end) {
    std::string text = source_.substr(at_, end - at_);
    std::erase(text, '_');
    add(type, std::move(text));
    skip_to(end);
  }

  void read_number() {
    const std::size_t whole = digits_end(at_);
    const bool after_dot = at_ > 0 && source_[at_ - 1] == '.';
    if (!after_dot) {
      std::size_t end = whole;
      bool is_float = false;
      if (end + 1 < source_.size() && source_[end] == '.' && is_digit(source_[end + 1])) {
        end = digits_end(end + 1);
        is_float = true;
      }
      if (end < source_.size() && (source_[end] == 'e' || source_[end] == 'E')) {
        std::size_t power = end + 1;
        if (power < source_.size() && (source_[power] == '+' || source_[power] == '-')) ++power;
        if (power < source_.size() && is_digit(source_[power])) {
          end = digits_end(power);
          is_float = true;
        }
      }
      if (is_float) {
        add_number(Type::Float, end);
        return;
      }
    }
    read_integer(whole);
  }

  void read_integer(std::size_t whole) {
    const char base = peek() == '0' ? static_cast<char>(peek(1) | 0x20) : '\0';
    if (base == 'x' || base == 'o' || base == 'b') {
      const auto fits = [base](char c) {
        if (base == 'b') return c == '0' || c == '1';
        if (base == 'o') return c >= '0' && c <= '7';
        return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
      };
      std::size_t end = at_ + 2;
      while (end < source_.size() &&
             (fits(source_[end]) ||
              (source_[end] == '_' && end + 1 < source_.size() && fits(source_[end + 1])))) {
        ++end;
      }
      if (end > at_ + 2) {
        add_number(Type::Integer, end);
        return;
      }
    }
    // A leading zero is a number of its own unless only zeros follow.
    std::size_t end = whole;
    if (peek() == '0') {
      end = at_ + 1;
      while (end < whole && (source_[end] == '0' || (source_[end] == '_' && source_[end + 1] == '0'))) ++end;
    }
    add_number(Type::Integer, end);
  }

  void read_name() {
    std::size_t end = at_;
    while (end < source_.size() && is_word(character_at(source_, end))) end += character_bytes(source_, end);
    add(Type::Name, source_.substr(at_, end - at_));
    skip_to(end);
  }

  void read_operator() {
    for (const std::string_view known : kOperators) {
      if (!ahead(known)) continue;
      if (known == "{" || known == "(" || known == "[") {
        brackets_.push_back(known == "{" ? '}' : known == "(" ? ')' : ']');
      } else if (known == "}" || known == ")" || known == "]") {
        if (brackets_.empty()) fail(fmt::format("unexpected '{}'", known));
        if (brackets_.back() != known[0]) {
          fail(fmt::format("unexpected '{}', expected '{}'", known, brackets_.back()));
        }
        brackets_.pop_back();
      }
      add(Type::Operator, std::string(known));
      skip_to(at_ + known.size());
      return;
    }
    std::string shown = source_.substr(at_, character_bytes(source_, at_));
    fail(fmt::format("unexpected char '{}'", shown));
  }

  void read_string() {
    const char quote = peek();
    std::size_t end = at_ + 1;
    while (end < source_.size() && source_[end] != quote) end += source_[end] == '\\' ? 2 : 1;
    if (end >= source_.size()) fail(fmt::format("unexpected char '{}'", quote));
    add(Type::String, unescaped(std::string_view(source_).substr(at_ + 1, end - at_ - 1)));
    skip_to(end + 1);
  }

  // Python's unicode-escape.
  [[nodiscard]] std::string unescaped(std::string_view text) const {
    std::string out;
    for (std::size_t i = 0; i < text.size(); ++i) {
      if (text[i] != '\\' || i + 1 == text.size()) {
        out += text[i];
        continue;
      }
      const char c = text[++i];
      static constexpr std::string_view kNames = "abfnrtv\\'\"";
      static constexpr std::string_view kMeant = "\a\b\f\n\r\t\v\\'\"";
      if (const std::size_t known = kNames.find(c); known != std::string_view::npos) {
        out += kMeant[known];
      } else if (c == '\n') {
        continue;  // the line goes on
      } else if (c == 'x' || c == 'u' || c == 'U') {
        const std::size_t digits = c == 'x' ? 2 : c == 'u' ? 4 : 8;
        append_code(out, text.substr(std::min(i + 1, text.size()), digits), digits, 16);
        i += digits;
      } else if (c >= '0' && c <= '7') {
        std::size_t digits = 1;
        while (digits < 3 && i + digits < text.size() && text[i + digits] >= '0' && text[i + digits] <= '7')
          ++digits;
        append_code(out, text.substr(i, digits), digits, 8);
        i += digits - 1;
      } else if (c == 'N') {
        fail("\\N{...} in a string is not supported; write the character itself");
      } else {
        out += '\\';
        out += c;
      }
    }
    return out;
  }

  void append_code(std::string& out, std::string_view digits, std::size_t wanted, std::uint32_t base) const {
    std::uint32_t code = 0;
    bool good = digits.size() == wanted;
    for (const char c : digits) {
      const bool letter = (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
      good = good && (is_digit(c) || letter) && code < 0x1000000U;
      code = code * base + static_cast<std::uint32_t>(letter ? (c | 0x20) - 'a' + 10 : c - '0');
    }
    if (!good || code > 0x10FFFF) fail("a string holds a broken escape");
    if (code >= 0xD800 && code <= 0xDFFF) fail("a string holds half a character (a surrogate)");
    append_character(out, code);
  }

  std::string source_;
  std::size_t at_ = 0;
  int line_ = 1;
  bool line_starting_ = true;
  std::vector<char> brackets_;  // closing ones that are awaited
  std::vector<Token> tokens_;
};

}  // namespace

std::vector<Token> tokenize(std::string_view source) { return Lexer(source).run(); }

}  // namespace thinkey::jinja
