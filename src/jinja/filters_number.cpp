// Filters that give numbers.
#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <optional>
#include <utility>

#include "jinja/filters.h"
#include "jinja/operators.h"
#include "jinja/unicode.h"

namespace thinkey::jinja {

namespace {

// Python allows single underscores between digits.
std::optional<std::string> without_underscores(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '_') {
      out += text[i];
    } else if (i == 0 || i + 1 == text.size() || !std::isalnum(static_cast<unsigned char>(text[i - 1])) ||
               !std::isalnum(static_cast<unsigned char>(text[i + 1]))) {
      return std::nullopt;
    }
  }
  return out;
}

// Python's int(text, base).
std::optional<std::int64_t> parse_integer(std::string_view given, std::int64_t base) {
  if (base != 0 && (base < 2 || base > 36)) return std::nullopt;
  auto plain = without_underscores(strip(given, Ends::Both));
  if (!plain) return std::nullopt;
  std::string_view text = *plain;
  bool negative = false;
  if (text.starts_with('-') || text.starts_with('+')) {
    negative = text[0] == '-';
    text.remove_prefix(1);
  }
  const char mark = text.size() > 2 && text[0] == '0' ? static_cast<char>(text[1] | 0x20) : '\0';
  const int prefix = mark == 'x' ? 16 : mark == 'o' ? 8 : mark == 'b' ? 2 : 0;
  if (prefix != 0 && (base == 0 || base == prefix)) {
    text.remove_prefix(2);
    base = prefix;
  } else if (base == 0) {
    if (text.size() > 1 && text[0] == '0' && text.find_first_not_of('0') != std::string_view::npos) {
      return std::nullopt;
    }
    base = 10;
  }
  if (text.empty() || text[0] == '-' || text[0] == '+') return std::nullopt;
  std::uint64_t number = 0;
  const auto [end, error] =
      std::from_chars(text.data(), text.data() + text.size(), number, static_cast<int>(base));
  if (end != text.data() + text.size()) return std::nullopt;
  if (error != std::errc() || number > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) {
    fault("an integer beyond 64 bits");
  }
  return negative ? -static_cast<std::int64_t>(number) : static_cast<std::int64_t>(number);
}

// Python's float(text).
std::optional<double> parse_float(std::string_view given) {
  const auto plain = without_underscores(strip(given, Ends::Both));
  if (!plain || plain->empty()) return std::nullopt;
  std::string word = to_lower(*plain);
  const bool negative = word[0] == '-';
  if (word[0] == '-' || word[0] == '+') word.erase(0, 1);
  const double sign = negative ? -1.0 : 1.0;
  if (word == "inf" || word == "infinity") return sign * std::numeric_limits<double>::infinity();
  if (word == "nan") return std::numeric_limits<double>::quiet_NaN();
  if (word.find_first_not_of("0123456789.e+-") != std::string::npos || word.empty()) return std::nullopt;
  if (word[0] == '-' || word[0] == '+') return std::nullopt;
  char* end = nullptr;
  const double number = std::strtod(word.c_str(), &end);
  if (end != word.c_str() + word.size()) return std::nullopt;
  return sign * number;
}

std::optional<std::int64_t> truncated(double number) {
  if (!std::isfinite(number)) return std::nullopt;
  if (!(std::abs(number) < 9.2e18)) fault("an integer beyond 64 bits");
  return static_cast<std::int64_t>(number);
}

Value int_filter(Interpreter& run, const Value& input, Arguments arguments) {
  const Bound bound("int", std::move(arguments), {"default", "base"});
  require_defined(input);
  const Value otherwise = bound.has(0) ? bound.at(0) : Value(std::int64_t{0});
  if (input.is_integral()) return Value(input.integer());
  if (input.is(Kind::Float)) {
    if (std::isinf(input.number())) fault("cannot convert float infinity to integer");
    const auto whole = truncated(input.number());
    return whole ? Value(*whole) : otherwise;
  }
  if (!input.is_string()) return otherwise;
  run.budget().scan(input.string().size());
  if (const auto whole = parse_integer(input.string(), bound.integer(1, 10))) return Value(*whole);
  const auto number = parse_float(input.string());
  const auto whole = number ? truncated(*number) : std::nullopt;
  return whole ? Value(*whole) : otherwise;
}

Value float_filter(Interpreter& run, const Value& input, Arguments arguments) {
  const Bound bound("float", std::move(arguments), {"default"});
  require_defined(input);
  if (input.is_number()) return Value(input.number());
  if (input.is_string()) {
    run.budget().scan(input.string().size());
    if (const auto number = parse_float(input.string())) return Value(*number);
  }
  return bound.has(0) ? bound.at(0) : Value(0.0);
}

Value abs_filter(Interpreter& /*run*/, const Value& input, Arguments arguments) {
  const Bound bound("abs", std::move(arguments), {});
  require_defined(input);
  if (!input.is_number()) fault("bad operand type for abs(): '{}'", type_name(input));
  if (input.is(Kind::Float)) return Value(std::abs(input.number()));
  return input.integer() < 0 ? unary(Operation::Negate, input) : Value(input.integer());
}

// Python's round(number, digits): halves to even, of the exact binary number.
double rounded(double number, std::int64_t digits) {
  if (!std::isfinite(number) || digits > 300) return number;
  if (digits < -300) return std::copysign(0.0, number);
  if (digits >= 0) {
    return std::strtod(fmt::format("{:.{}f}", number, static_cast<int>(digits)).c_str(), nullptr);
  }
  const double unit = std::pow(10.0, static_cast<double>(-digits));
  return std::nearbyint(number / unit) * unit;
}

Value round_filter(Interpreter& /*run*/, const Value& input, Arguments arguments) {
  const Bound bound("round", std::move(arguments), {"precision", "method"});
  require_defined(input);
  const std::int64_t digits = bound.integer(0, 0);
  const std::string method = bound.text(1).value_or("common");
  if (method != "common" && method != "ceil" && method != "floor") {
    fault("method must be common, ceil or floor");
  }
  if (!input.is_number()) fault("type {} doesn't define __round__ method", type_name(input));
  if (method == "common") {
    if (input.is(Kind::Float)) return Value(rounded(input.number(), digits));
    if (digits >= 0) return Value(input.integer());
    if (digits < -18) return Value(std::int64_t{0});
    std::int64_t unit = 1;
    for (std::int64_t i = digits; i < 0; ++i) unit *= 10;
    const std::int64_t rest = ((input.integer() % unit) + unit) % unit;
    std::int64_t result = input.integer() - rest;
    const bool up = 2 * rest > unit || (2 * rest == unit && (result / unit) % 2 != 0);
    if (up && __builtin_add_overflow(result, unit, &result)) fault("an integer beyond 64 bits");
    return Value(result);
  }
  const double unit = std::pow(10.0, static_cast<double>(digits));
  const double scaled = input.number() * unit;
  if (!std::isfinite(scaled)) fault("cannot convert float infinity to integer");
  return Value((method == "ceil" ? std::ceil(scaled) : std::floor(scaled)) / unit);
}

}  // namespace

Filter find_number_filter(std::string_view name) {
  static constexpr std::array<std::pair<std::string_view, Filter>, 4> kFilters{{
      {"abs", abs_filter},
      {"float", float_filter},
      {"int", int_filter},
      {"round", round_filter},
  }};
  for (const auto& [known, filter] : kFilters) {
    if (known == name) return filter;
  }
  return nullptr;
}

}  // namespace thinkey::jinja
