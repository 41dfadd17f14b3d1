#include "tokenizer/regex_syntax.h"

#include <array>
#include <cctype>
#include <utility>

#include "base/fail.h"
#include "formats/printable.h"

namespace thinkey {
namespace {

constexpr std::size_t kMostBytes = std::size_t{1} << 16U;

// White_Space written out: PCRE2's own \s also holds U+180E, which Unicode took out of the property.
constexpr std::string_view kSpaces =
    R"(\x{9}-\x{d}\x{20}\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000})";
constexpr std::string_view kWord = R"(\p{Alphabetic}\p{M}\p{Nd}\p{Pc})";
// Outside of classes Oniguruma counts these to \w, too.
constexpr std::string_view kLatinNumbers = R"(\x{b2}\x{b3}\x{b9}\x{bc}-\x{be})";
constexpr std::string_view kHex = "0-9A-Fa-f";

// Members of a class by letter, and by POSIX name.
constexpr std::array<std::pair<char, std::string_view>, 4> kLetters{
    {{'s', kSpaces}, {'w', kWord}, {'d', R"(\p{Nd})"}, {'h', kHex}}};
constexpr std::array<std::pair<std::string_view, std::string_view>, 8> kPosix{
    {{"alpha", R"(\p{Alphabetic})"},
     {"alnum", R"(\p{Alphabetic}\p{Nd})"},
     {"digit", R"(\p{Nd})"},
     {"lower", R"(\p{Lowercase})"},
     {"upper", R"(\p{Uppercase})"},
     {"space", kSpaces},
     {"word", kWord},
     {"xdigit", kHex}}};

class Translation {
 public:
  explicit Translation(std::string_view expression) : in_(expression) {}

  std::string run() {
    if (in_.size() > kMostBytes) refuse("more than 64 KiB");
    while (at_ < in_.size()) step();
    return std::move(out_);
  }

 private:
  [[noreturn]] void refuse(std::string_view what) const {
    fail_data("tokenizer: the expression \"{}\" uses what is not supported: {} at its byte {}",
              printable(in_, 200), what, at_);
  }
  [[nodiscard]] char peek(std::size_t ahead = 0) const {
    return at_ + ahead < in_.size() ? in_[at_ + ahead] : '\0';
  }
  [[nodiscard]] bool starts(std::string_view text) const { return in_.substr(at_).starts_with(text); }
  void copy(std::size_t bytes) {
    out_ += in_.substr(at_, bytes);
    at_ += bytes;
  }

  void step() {
    switch (peek()) {
      case '\\':
        escape();
        return;
      case '[':
        character_class();
        return;
      case '(':
        group();
        return;
      case '{':
        repeat();
        return;
      default:
        copy(1);
    }
  }

  void group() {
    if (peek(1) == '*') refuse("(*");
    if (peek(1) != '?') return copy(1);
    for (const std::string_view open : {"(?:", "(?=", "(?!", "(?<=", "(?<!", "(?>", "(?i:", "(?-i:"}) {
      if (starts(open)) return copy(open.size());
    }
    refuse("(?" + std::string(1, peek(2)));
  }

  // {n}, {n,}, {n,m}; other braces stand for themselves.
  void repeat() {
    std::size_t end = at_ + 1;
    while (end < in_.size() && (std::isdigit(static_cast<unsigned char>(in_[end])) != 0 || in_[end] == ',')) {
      ++end;
    }
    if (end == in_.size() || in_[end] != '}' || end == at_ + 1) {
      out_ += "\\{";
      ++at_;
      return;
    }
    if (in_[at_ + 1] == ',') refuse("{,");
    copy(end + 1 - at_);
    // Oniguruma repeats the repetition, PCRE2 would make it possessive.
    if (peek() == '+') refuse("}+");
  }

  // \p{...} with its braces; general categories by one or two letters, other names are scripts.
  void property() {
    const std::size_t end = in_.find('}', at_);
    if (peek(2) != '{' || end == std::string_view::npos) refuse("\\p without {}");
    std::string_view name = in_.substr(at_ + 3, end - at_ - 3);
    out_ += in_.substr(at_, 3);
    if (name.starts_with('^')) {
      out_ += '^';
      name.remove_prefix(1);
    }
    const bool known = name.size() <= 2 || name == "Alphabetic" || name == "Lowercase" || name == "Uppercase";
    if (!known) out_ += "sc:";
    out_ += name;
    out_ += '}';
    at_ = end + 1;
  }

  // \x41, \x{41}, \u0041
  void code_point() {
    const bool braces = peek(1) == 'x' && peek(2) == '{';
    const std::size_t start = at_ + (braces ? 3 : 2);
    const std::size_t most = braces ? 6 : peek(1) == 'u' ? 4 : 2;
    std::size_t end = start;
    while (end < in_.size() && end < start + most && std::isxdigit(static_cast<unsigned char>(in_[end])) != 0)
      ++end;
    if (end == start || (braces && (end == in_.size() || in_[end] != '}'))) refuse("a code point");
    if (peek(1) == 'u' && end != start + 4) refuse("a code point");
    out_ += fmt::format("\\x{{{}}}", in_.substr(start, end - start));
    at_ = end + (braces ? 1 : 0);
  }

  // What \s and the like stand for inside a class; empty for other escapes.
  static std::string_view members(char letter) {
    for (const auto& [known, set] : kLetters) {
      if (letter == known) return set;
    }
    return {};
  }

  void escape() {
    const char c = peek(1);
    const bool negative = c == 'S' || c == 'W' || c == 'D' || c == 'H';
    if (const std::string_view set = members(negative ? static_cast<char>(c - 'A' + 'a') : c); !set.empty()) {
      out_ += fmt::format("[{}{}{}]", negative ? "^" : "", set, set == kWord ? kLatinNumbers : "");
      at_ += 2;
    } else if (c == 'b' || c == 'B') {
      const std::string_view same = c == 'b' ? "(?:(?<=[{0}])(?![{0}])|(?<![{0}])(?=[{0}]))"
                                             : "(?:(?<=[{0}])(?=[{0}])|(?<![{0}])(?![{0}]))";
      out_ += fmt::format(fmt::runtime(same), std::string(kWord).append(kLatinNumbers));
      at_ += 2;
    } else if (c == 'A' || c == 'z' || c == 'Z') {
      copy(2);
    } else {
      plain_escape();
    }
  }

  // Escapes that mean the same inside and outside of a class.
  void plain_escape() {
    const char c = peek(1);
    if (c == 'p' || c == 'P') return property();
    if (c == 'x' || c == 'u') return code_point();
    if (c == 'v') {
      out_ += "\\x0b";
      at_ += 2;
    } else if (c == 'n' || c == 'r' || c == 't' || c == 'f' || c == 'a' || c == 'e') {
      copy(2);
    } else if (c == '\0' || std::isalnum(static_cast<unsigned char>(c)) != 0) {
      refuse("\\" + std::string(1, c));
    } else if (static_cast<unsigned char>(c) >= 0x80) {
      ++at_;  // the character itself
    } else {
      copy(2);
    }
  }

  // Members up to the closing bracket or "&&", which stay.
  void class_members() {
    if (peek() == ']') refuse("an empty class");
    while (true) {
      if (at_ >= in_.size()) refuse("a class without end");
      if (peek() == ']' || starts("&&")) return;
      if (starts("[:")) {
        posix();
      } else if (peek() == '[') {
        refuse("a class inside a class");
      } else if (peek() == '\\') {
        class_escape();
      } else {
        copy(1);
      }
    }
  }

  void class_escape() {
    const char c = peek(1);
    if (const std::string_view set = members(c); !set.empty()) {
      out_ += set;
      at_ += 2;
    } else if (c == 'S') {
      out_ += R"(\P{Xsp}\x{180e})";
      at_ += 2;
    } else if (c == 'D') {
      out_ += R"(\P{Nd})";
      at_ += 2;
    } else if (c == 'b') {
      out_ += "\\x08";
      at_ += 2;
    } else {
      plain_escape();
    }
  }

  void posix() {
    for (const auto& [name, set] : kPosix) {
      if (!starts(fmt::format("[:{}:]", name))) continue;
      out_ += set;
      at_ += name.size() + 4;
      return;
    }
    refuse("[:");
  }

  // [...], and [a&&[b]] as a look ahead and a class.
  void character_class() {
    const std::size_t begin = out_.size();
    const bool negative = peek(1) == '^';
    copy(negative ? 2 : 1);
    class_members();
    if (peek() == ']') return copy(1);
    at_ += 2;
    if (negative || peek() != '[') refuse("&& of this form");
    std::string first = out_.substr(begin) + "]";
    out_.resize(begin);
    out_ += "(?:(?=";
    const bool without = peek(1) == '^';
    copy(without ? 2 : 1);
    class_members();
    if (!starts("]]")) refuse("&& of this form");
    at_ += 2;
    out_ += "])" + first + ")";
  }

  std::string_view in_;
  std::size_t at_ = 0;
  std::string out_;
};

}  // namespace

std::string to_pcre2(std::string_view expression) { return Translation(expression).run(); }

}  // namespace thinkey
