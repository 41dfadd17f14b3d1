#include "jinja/repr.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "jinja/unicode.h"

namespace thinkey::jinja {

namespace {

class Printer {
 public:
  explicit Printer(Budget& budget) : budget_(budget) {}

  void print(const Value& value) {
    budget_.step();
    switch (value.kind()) {
      case Kind::Undefined:
        out_ += "Undefined";
        return;
      case Kind::None:
        out_ += "None";
        return;
      case Kind::Boolean:
        out_ += value.boolean() ? "True" : "False";
        return;
      case Kind::Integer:
        out_ += std::to_string(value.integer());
        return;
      case Kind::Float:
        out_ += float_repr(value.number());
        return;
      case Kind::String:
        budget_.make(value.string().size());
        if (value.text().markup) out_ += "Markup(";
        append_string_repr(out_, value.string());
        if (value.text().markup) out_ += ')';
        return;
      case Kind::List:
        print_items("[", value.items(), "]");
        return;
      case Kind::Tuple:
        print_items("(", value.items(), value.items().size() == 1 ? ",)" : ")");
        return;
      case Kind::Dict:
        print_dict(value.dict());
        return;
      case Kind::View:
        if (value.sequence().name.ends_with(')')) {
          out_ += value.sequence().name;
        } else {
          print_items(value.sequence().name + "([", value.items(), "])");
        }
        return;
      case Kind::Iterator:
        fault("a generator has no text to print; |list makes a list of it");
      case Kind::Object:
        out_ += value.object().repr();
        return;
    }
  }

  std::string take() { return std::move(out_); }

 private:
  void print_items(const std::string& open, const Values& items, std::string_view close) {
    budget_.make(2 * items.size() + 2);
    out_ += open;
    for (std::size_t i = 0; i < items.size(); ++i) {
      if (i > 0) out_ += ", ";
      print(items[i]);
    }
    out_ += close;
  }

  void print_dict(const Dict& dict) {
    budget_.make(4 * dict.size() + 2);
    out_ += '{';
    bool first = true;
    for (const auto& [key, value] : dict.entries()) {
      if (!std::exchange(first, false)) out_ += ", ";
      print(key);
      out_ += ": ";
      print(value);
    }
    out_ += '}';
  }

  Budget& budget_;
  std::string out_;
};

}  // namespace

std::string float_repr(double number) {
  if (std::isnan(number)) return "nan";
  if (std::isinf(number)) return number < 0 ? "-inf" : "inf";
  std::array<char, 64> buffer{};
  // The shortest digits that read back as the same number, laid out as Python does.
  const auto end =
      std::to_chars(buffer.data(), buffer.data() + buffer.size(), number, std::chars_format::scientific);
  std::string text(buffer.data(), end.ptr);
  const std::size_t mark = text.find('e');
  const int exponent = std::stoi(text.substr(mark + 1));
  if (exponent >= -4 && exponent < 16) {
    const auto fixed =
        std::to_chars(buffer.data(), buffer.data() + buffer.size(), number, std::chars_format::fixed);
    text.assign(buffer.data(), fixed.ptr);
    if (text.find('.') == std::string::npos) text += ".0";
    return text;
  }
  std::string digits = std::to_string(std::abs(exponent));
  if (digits.size() < 2) digits.insert(0, 1, '0');
  return fmt::format("{}e{}{}", text.substr(0, mark), exponent < 0 ? '-' : '+', digits);
}

void append_string_repr(std::string& out, std::string_view text) {
  const bool single = text.find('\'') == std::string_view::npos || text.find('"') != std::string_view::npos;
  const char quote = single ? '\'' : '"';
  out += quote;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t bytes = character_bytes(text, at);
    const char32_t c = character_at(text, at);
    if (c == '\\' || c == static_cast<char32_t>(quote)) {
      out += '\\';
      out += static_cast<char>(c);
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\r') {
      out += "\\r";
    } else if (c == '\t') {
      out += "\\t";
    } else if (is_printable(c)) {
      out += text.substr(at, bytes);
    } else if (c < 0x100) {
      out += fmt::format("\\x{:02x}", static_cast<std::uint32_t>(c));
    } else if (c < 0x10000) {
      out += fmt::format("\\u{:04x}", static_cast<std::uint32_t>(c));
    } else {
      out += fmt::format("\\U{:08x}", static_cast<std::uint32_t>(c));
    }
    at += bytes;
  }
  out += quote;
}

std::string repr(const Value& value, Budget& budget) {
  Printer printer(budget);
  printer.print(value);
  return printer.take();
}

std::string str(const Value& value, Budget& budget) {
  if (value.is_undefined()) return {};
  if (value.is_string()) {
    budget.make(value.string().size());
    return value.string();
  }
  return repr(value, budget);
}

std::string escape_html(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '\'':
        out += "&#39;";
        break;
      case '"':
        out += "&#34;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

}  // namespace thinkey::jinja
