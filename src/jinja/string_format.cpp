#include "jinja/string_format.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>

#include "jinja/operators.h"
#include "jinja/repr.h"
#include "jinja/unicode.h"

namespace thinkey::jinja {

namespace {

constexpr std::int64_t kMostWidth = 10000;

// What both kinds of format say about one value.
struct Style {
  std::string fill = " ";
  char align = '\0';  // '<', '>', '^', '=' or none
  char sign = '-';
  bool alternate = false;
  bool grouped = false;
  std::int64_t width = 0;
  std::int64_t precision = -1;
  char type = '\0';
};

std::string padded(const std::string& text, const Style& style, char usual, std::size_t prefix = 0) {
  const std::int64_t missing = style.width - static_cast<std::int64_t>(count_characters(text));
  if (missing <= 0) return text;
  const char align = style.align == '\0' ? usual : style.align;
  const auto filling = [&](std::int64_t times) {
    std::string out;
    for (std::int64_t i = 0; i < times; ++i) out += style.fill;
    return out;
  };
  if (align == '<') return text + filling(missing);
  if (align == '^') return filling(missing / 2) + text + filling(missing - missing / 2);
  if (align == '=') return text.substr(0, prefix) + filling(missing) + text.substr(prefix);
  return filling(missing) + text;
}

std::string with_groups(std::string digits) {
  const std::size_t dot = std::min(digits.find_first_of(".eE"), digits.size());
  for (std::size_t at = dot; at > 3; at -= 3) digits.insert(at - 3, 1, ',');
  return digits;
}

std::string format_number(std::string digits, bool negative, std::string_view mark, const Style& style) {
  std::string sign;
  if (negative || style.sign != '-') sign += negative ? '-' : style.sign;
  if (style.alternate) sign += mark;
  if (style.grouped) digits = with_groups(std::move(digits));
  return padded(sign + digits, style, '>', sign.size());
}

std::string format_integer(std::int64_t value, const Style& style) {
  const bool negative = value < 0;
  const std::uint64_t size =
      negative ? 0U - static_cast<std::uint64_t>(value) : static_cast<std::uint64_t>(value);
  switch (style.type) {
    case 'x':
      return format_number(fmt::format("{:x}", size), negative, "0x", style);
    case 'X':
      return format_number(fmt::format("{:X}", size), negative, "0X", style);
    case 'o':
      return format_number(fmt::format("{:o}", size), negative, "0o", style);
    case 'b':
      return format_number(fmt::format("{:b}", size), negative, "0b", style);
    default: {
      std::string digits = std::to_string(size);
      if (style.precision > static_cast<std::int64_t>(digits.size())) {
        digits.insert(0, static_cast<std::size_t>(style.precision) - digits.size(), '0');
      }
      return format_number(std::move(digits), negative, "", style);
    }
  }
}

std::string format_float(double value, const Style& style) {
  const bool negative = std::signbit(value) && !std::isnan(value);
  const double size = std::abs(value);
  const int precision = style.precision < 0 ? 6 : static_cast<int>(style.precision);
  std::string digits;
  if (std::isnan(value) || std::isinf(value)) {
    digits = std::isnan(value) ? "nan" : "inf";
  } else if (style.type == '\0') {
    digits =
        style.precision < 0 ? float_repr(size) : fmt::format("{:.{}g}", size, precision == 0 ? 1 : precision);
  } else {
    std::array<char, 12> pattern = {'%', '.', '*', style.type == '%' ? 'f' : style.type, '\0'};
    std::vector<char> buffer(static_cast<std::size_t>(precision) + 400);
    const double shown = style.type == '%' ? size * 100 : size;
    const int written = std::snprintf(buffer.data(), buffer.size(), pattern.data(), precision, shown);
    digits.assign(buffer.data(), static_cast<std::size_t>(std::max(written, 0)));
    if (style.type == '%') digits += '%';
  }
  return format_number(std::move(digits), negative, "", style);
}

std::string format_text(const std::string& text, const Style& style) {
  const std::string_view shown =
      style.precision < 0
          ? std::string_view(text)
          : std::string_view(text).substr(0, offset_of(text, static_cast<std::size_t>(style.precision)));
  return padded(std::string(shown), style, '<');
}

// A number of at most kMostWidth.
std::int64_t read_number(const std::string& text, std::size_t& at) {
  std::int64_t number = 0;
  while (at < text.size() && text[at] >= '0' && text[at] <= '9') {
    number = number * 10 + (text[at++] - '0');
    if (number > kMostWidth) fault("a format asks for more than {} characters", kMostWidth);
  }
  return number;
}

bool is_float_type(char type) { return std::string_view("eEfFgG").find(type) != std::string_view::npos; }

// --- "..." % values ---

std::string percent_value(const Value& value, Style style, Budget& budget) {
  switch (style.type) {
    case 's':
      return padded(format_text(str(value, budget), {.precision = style.precision}), style, '>');
    case 'r':
    case 'a':
      return padded(format_text(repr(value, budget), {.precision = style.precision}), style, '>');
    case 'c': {
      if (value.is_string() && value.text().length == 1) return padded(value.string(), style, '>');
      if (!value.is_integral() || value.integer() < 0 || value.integer() > 0x10FFFF ||
          (value.integer() >= 0xD800 && value.integer() <= 0xDFFF)) {
        fault("%c requires int or char");
      }
      std::string out;
      append_character(out, static_cast<char32_t>(value.integer()));
      return padded(out, style, '>');
    }
    default:
      break;
  }
  require_defined(value);
  if (!value.is_number()) fault("%{} format: a number is required, not {}", style.type, type_name(value));
  if (is_float_type(style.type)) return format_float(value.number(), style);
  if (value.is_integral()) return format_integer(value.integer(), style);
  if (style.type != 'd' && style.type != 'i' && style.type != 'u') {
    fault("%{} format: an integer is required, not float", style.type);
  }
  if (!(std::abs(value.number()) < 9.0e18)) fault("cannot convert float to integer");
  return format_integer(static_cast<std::int64_t>(value.number()), style);
}

// --- "...".format(values) ---

class BraceFormat {
 public:
  BraceFormat(Interpreter& run, const Arguments& arguments) : run_(run), arguments_(arguments) {}

  std::string expand(const std::string& format, int depth) {
    if (depth > 1) fault("Max string recursion exceeded");
    std::string out;
    for (std::size_t at = 0; at < format.size();) {
      run_.budget().make(1);
      const char c = format[at];
      if ((c == '{' || c == '}') && at + 1 < format.size() && format[at + 1] == c) {
        out += c;
        at += 2;
      } else if (c == '{') {
        out += field(format, at, depth);
      } else if (c == '}') {
        fault("Single '}}' encountered in format string");
      } else {
        out += c;
        ++at;
      }
    }
    return out;
  }

 private:
  // One {field}; `at` moves behind it.
  std::string field(const std::string& format, std::size_t& at, int depth) {
    std::size_t end = at + 1;
    std::size_t name_end = std::string::npos;
    int open = 1;
    bool in_brackets = false;
    for (; end < format.size(); ++end) {
      const char c = format[end];
      if (name_end == std::string::npos) {
        if (c == '[') in_brackets = true;
        if (c == ']') in_brackets = false;
        if (!in_brackets && (c == ':' || c == '!')) name_end = end;
      }
      if (c == '{') ++open;
      if (c == '}' && --open == 0) break;
    }
    if (end >= format.size()) fault("expected '}}' before end of string");
    name_end = std::min(name_end, end);
    Value value = look_up(format.substr(at + 1, name_end - at - 1));
    std::size_t rest = name_end;
    if (rest < end && format[rest] == '!') {
      const char conversion = rest + 1 < end ? format[rest + 1] : '\0';
      if (conversion == 'r' || conversion == 'a') {
        value = run_.text(repr(value, run_.budget()));
      } else if (conversion == 's') {
        value = run_.text(str(value, run_.budget()));
      } else {
        fault("Unknown conversion specifier in a format");
      }
      rest += 2;
      if (rest < end && format[rest] != ':') fault("expected ':' after conversion specifier");
    }
    std::string spec;
    if (rest < end) spec = expand(format.substr(rest + 1, end - rest - 1), depth + 1);
    at = end + 1;
    std::string shown = apply(value, spec);
    run_.budget().make(shown.size());
    return shown;
  }

  Value look_up(const std::string& name) {
    const std::size_t first_end = std::min(name.find_first_of(".["), name.size());
    const std::string first = name.substr(0, first_end);
    Value value = first_value(first);
    for (std::size_t at = first_end; at < name.size();) {
      if (name[at] == '.') {
        const std::size_t end = std::min(name.find_first_of(".[", at + 1), name.size());
        if (end == at + 1) fault("Empty attribute in format string");
        value = run_.attribute(value, name.substr(at + 1, end - at - 1));
        at = end;
      } else if (name[at] == '[') {
        const std::size_t end = name.find(']', at);
        if (end == std::string::npos || end == at + 1) fault("Missing ']' in format string");
        const std::string key = name.substr(at + 1, end - at - 1);
        const bool number = std::all_of(key.begin(), key.end(), [](char c) { return c >= '0' && c <= '9'; });
        std::size_t used = 0;
        value = run_.item(value, number ? Value(read_number(key, used)) : Value(key));
        at = end + 1;
      } else {
        fault("Only '.' or '[' may follow ']' in format field specifier");
      }
    }
    return value;
  }

  Value first_value(const std::string& name) {
    const bool number = std::all_of(name.begin(), name.end(), [](char c) { return c >= '0' && c <= '9'; });
    if (!number) {
      for (const auto& [known, value] : arguments_.named) {
        if (known == name) return value;
      }
      fault("KeyError: '{}'", name);
    }
    std::size_t used = 0;
    const bool automatic = name.empty();
    if ((automatic && numbered_) || (!automatic && next_ > 0)) {
      fault("cannot switch between manual field specification and automatic field numbering");
    }
    numbered_ = numbered_ || !automatic;
    const std::size_t index = automatic ? next_++ : static_cast<std::size_t>(read_number(name, used));
    if (index >= arguments_.positional.size()) {
      fault("Replacement index {} out of range for positional args tuple", index);
    }
    return arguments_.positional[index];
  }

  std::string apply(const Value& value, const std::string& spec) {
    Budget& budget = run_.budget();
    if (spec.empty()) return str(value, budget);
    const Style style = read_style(spec, value);
    if (value.is_string()) {
      if (style.type != '\0' && style.type != 's') fault("Unknown format code for object of type 'str'");
      if (style.align == '=') fault("'=' alignment not allowed in string format specifier");
      return format_text(value.string(), style);
    }
    if (value.is_integral() && (!value.is(Kind::Boolean) || style.type != '\0')) {
      if (is_float_type(style.type) || style.type == '%') return format_float(value.number(), style);
      if (style.precision >= 0) fault("Precision not allowed in integer format specifier");
      if (std::string_view("\0bdoxXn", 7).find(style.type) == std::string_view::npos) {
        fault("Unknown format code for object of type 'int'");
      }
      return format_integer(value.integer(), style);
    }
    if (value.is(Kind::Float)) {
      if (style.type != '\0' && style.type != '%' && !is_float_type(style.type)) {
        fault("Unknown format code for object of type 'float'");
      }
      return format_float(value.number(), style);
    }
    if (value.is(Kind::Boolean)) return padded(std::to_string(value.integer()), style, '>');
    fault("unsupported format string passed to {}.__format__", type_name(value));
  }

  // [[fill]align][sign][#][0][width][,][.precision][type]
  static Style read_style(const std::string& spec, const Value& value) {
    const auto is_align = [](char c) { return c == '<' || c == '>' || c == '^' || c == '='; };
    Style style;
    std::size_t at = 0;
    const std::size_t first = character_bytes(spec, 0);
    if (first < spec.size() && is_align(spec[first])) {
      style.fill = spec.substr(0, first);
      style.align = spec[first];
      at = first + 1;
    } else if (is_align(spec[0])) {
      style.align = spec[0];
      at = 1;
    }
    const auto take = [&](char wanted) {
      const bool found = at < spec.size() && spec[at] == wanted;
      at += found ? 1 : 0;
      return found;
    };
    if (at < spec.size() && (spec[at] == '+' || spec[at] == '-' || spec[at] == ' ')) style.sign = spec[at++];
    style.alternate = take('#');
    if (take('0') && style.align == '\0') {
      style.fill.assign(1, '0');
      style.align = value.is_string() ? '<' : '=';
    }
    style.width = read_number(spec, at);
    style.grouped = take(',');
    if (take('.')) style.precision = read_number(spec, at);
    if (at < spec.size()) style.type = spec[at++];
    if (at < spec.size()) fault("Invalid format specifier '{}'", spec);
    return style;
  }

  Interpreter& run_;
  const Arguments& arguments_;
  std::size_t next_ = 0;
  bool numbered_ = false;
};

}  // namespace

Value percent_format(const Value& format, const Value& values, Budget& budget) {
  const std::string& text = format.string();
  const Values positional = values.is(Kind::Tuple) ? values.items() : Values{values};
  const auto escaped = [&](std::string shown, char type, const Value& value) {
    const bool marks = format.text().markup && type == 's' && !(value.is_string() && value.text().markup);
    return marks ? escape_html(shown) : shown;
  };
  std::string out;
  std::size_t used = 0;
  bool by_name = false;
  for (std::size_t at = 0; at < text.size();) {
    budget.make(1);
    if (text[at] != '%') {
      out += text[at++];
      continue;
    }
    if (++at >= text.size()) fault("incomplete format");
    Value value;
    bool named = false;
    if (text[at] == '(') {
      const std::size_t end = text.find(')', at);
      if (end == std::string::npos) fault("incomplete format key");
      if (!values.is(Kind::Dict)) fault("format requires a mapping");
      const Value* found = values.dict().find(std::string_view(text).substr(at + 1, end - at - 1));
      if (found == nullptr) fault("KeyError: '{}'", text.substr(at + 1, end - at - 1));
      value = *found;
      named = by_name = true;
      at = end + 1;
    }
    Style style;
    bool zero = false;
    for (; at < text.size() && std::string_view("#0- +").find(text[at]) != std::string_view::npos; ++at) {
      style.alternate = style.alternate || text[at] == '#';
      zero = zero || text[at] == '0';
      if (text[at] == '-') style.align = '<';
      if (text[at] == '+' || (text[at] == ' ' && style.sign == '-')) style.sign = text[at];
    }
    const auto next = [&]() -> const Value& {
      if (used >= positional.size()) fault("not enough arguments for format string");
      return positional[used++];
    };
    const auto number = [&] {
      if (at >= text.size() || text[at] != '*') return read_number(text, at);
      ++at;
      const Value& given = next();
      if (!given.is_integral() || given.integer() < 0 || given.integer() > kMostWidth) fault("* wants int");
      return given.integer();
    };
    style.width = number();
    if (at < text.size() && text[at] == '.') {
      ++at;
      style.precision = number();
    }
    while (at < text.size() && (text[at] == 'l' || text[at] == 'h' || text[at] == 'L')) ++at;
    if (at >= text.size()) fault("incomplete format");
    style.type = text[at++];
    if (style.type == '%') {
      out += '%';
      continue;
    }
    if (std::string_view("sracdiuxXoeEfFgG").find(style.type) == std::string_view::npos) {
      fault("unsupported format character '{}'", style.type);
    }
    if (zero && style.align == '\0' && std::string_view("srac").find(style.type) == std::string_view::npos) {
      style.fill.assign(1, '0');
      style.align = '=';
    }
    if (!named) value = next();
    std::string shown = escaped(percent_value(value, style, budget), style.type, value);
    budget.make(shown.size());
    out += shown;
  }
  if (!by_name && used < positional.size() && !values.is(Kind::Dict)) {
    fault("not all arguments converted during string formatting");
  }
  return Value(std::move(out), format.text().markup);
}

Value brace_format(Interpreter& run, const Value& format, const Arguments& arguments) {
  if (format.text().markup) fault("format() of text marked safe is not supported");
  return run.text(BraceFormat(run, arguments).expand(format.string(), 0));
}

}  // namespace thinkey::jinja
