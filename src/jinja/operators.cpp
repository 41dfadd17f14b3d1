#include "jinja/operators.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "jinja/repr.h"
#include "jinja/string_format.h"
#include "jinja/unicode.h"

namespace thinkey::jinja {

namespace {

constexpr std::size_t kMostRepeats = std::size_t{64} << 20U;  // bytes or items that * may make

std::string_view sign_of(Operation operation) {
  switch (operation) {
    case Operation::Add:
      return "+";
    case Operation::Subtract:
      return "-";
    case Operation::Multiply:
      return "*";
    case Operation::Divide:
      return "/";
    case Operation::FloorDivide:
      return "//";
    case Operation::Modulo:
      return "%";
    default:
      return "**";
  }
}

[[noreturn]] void unsupported(Operation operation, const Value& a, const Value& b) {
  fault("unsupported operand type(s) for {}: '{}' and '{}'", sign_of(operation), type_name(a), type_name(b));
}

[[noreturn]] void overflow() { fault("an integer beyond 64 bits"); }

std::int64_t floor_divide(std::int64_t a, std::int64_t b) {
  if (b == 0) fault("integer division or modulo by zero");
  if (b == -1) {
    if (a == std::numeric_limits<std::int64_t>::min()) overflow();
    return -a;
  }
  const std::int64_t quotient = a / b;
  return a % b != 0 && (a < 0) != (b < 0) ? quotient - 1 : quotient;
}

std::int64_t modulo(std::int64_t a, std::int64_t b) {
  if (b == 0) fault("integer modulo by zero");
  if (b == -1) return 0;
  const std::int64_t rest = a % b;
  return rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
}

double modulo(double a, double b) {
  if (b == 0.0) fault("float modulo");
  double rest = std::fmod(a, b);
  if (rest != 0.0) {
    if ((rest < 0.0) != (b < 0.0)) rest += b;
  } else {
    rest = std::copysign(0.0, b);
  }
  return rest;
}

double floor_divide(double a, double b) {
  if (b == 0.0) fault("float floor division by zero");
  const double rest = modulo(a, b);
  double quotient = (a - rest) / b;
  if (quotient == 0.0) return std::copysign(0.0, a / b);
  const double floor = std::floor(quotient);
  return quotient - floor > 0.5 ? floor + 1.0 : floor;
}

Value power(const Value& a, const Value& b) {
  if (a.is_integral() && b.is_integral() && b.integer() >= 0) {
    std::int64_t result = 1;
    std::int64_t base = a.integer();
    for (std::int64_t rest = b.integer(); rest > 0; rest >>= 1U) {
      if ((rest & 1) != 0 && __builtin_mul_overflow(result, base, &result)) overflow();
      if (rest > 1 && __builtin_mul_overflow(base, base, &base)) overflow();
    }
    return Value(result);
  }
  if (a.number() == 0.0 && b.number() < 0.0) fault("0.0 cannot be raised to a negative power");
  const double result = std::pow(a.number(), b.number());
  if (std::isnan(result) && !std::isnan(a.number()) && !std::isnan(b.number())) {
    fault("a complex number");
  }
  if (std::isinf(result) && std::isfinite(a.number()) && std::isfinite(b.number())) {
    fault("Numerical result out of range");
  }
  return Value(result);
}

Value arithmetic(Operation operation, const Value& a, const Value& b) {
  const bool integers = a.is_integral() && b.is_integral();
  std::int64_t result = 0;
  switch (operation) {
    case Operation::Add:
      if (!integers) return Value(a.number() + b.number());
      if (__builtin_add_overflow(a.integer(), b.integer(), &result)) overflow();
      return Value(result);
    case Operation::Subtract:
      if (!integers) return Value(a.number() - b.number());
      if (__builtin_sub_overflow(a.integer(), b.integer(), &result)) overflow();
      return Value(result);
    case Operation::Multiply:
      if (!integers) return Value(a.number() * b.number());
      if (__builtin_mul_overflow(a.integer(), b.integer(), &result)) overflow();
      return Value(result);
    case Operation::Divide:
      if (b.number() == 0.0) fault("division by zero");
      return Value(a.number() / b.number());
    case Operation::FloorDivide:
      return integers ? Value(floor_divide(a.integer(), b.integer()))
                      : Value(floor_divide(a.number(), b.number()));
    case Operation::Modulo:
      return integers ? Value(modulo(a.integer(), b.integer())) : Value(modulo(a.number(), b.number()));
    default:
      return power(a, b);
  }
}

Value repeat(const Value& value, std::int64_t times, Budget& budget) {
  const std::size_t count = times > 0 ? static_cast<std::size_t>(times) : 0;
  const std::size_t size = value.is_string() ? value.string().size() : value.items().size();
  if (size > 0 && count > kMostRepeats / size) fault("a repetition of more than {} bytes", kMostRepeats);
  if (value.is_string()) {
    budget.make(size * count);
    std::string text;
    text.reserve(size * count);
    for (std::size_t i = 0; i < count && size > 0; ++i) text += value.string();
    return Value(std::move(text), value.text().markup);
  }
  budget.make(size * count * sizeof(Value));
  Values items;
  for (std::size_t i = 0; i < count && size > 0; ++i) {
    items.insert(items.end(), value.items().begin(), value.items().end());
  }
  return value.is(Kind::List) ? Value::list(std::move(items)) : Value::tuple(std::move(items));
}

Value add(const Value& a, const Value& b, Budget& budget) {
  if (a.is_string() && b.is_string()) {
    budget.make(a.string().size() + b.string().size());
    if (a.text().markup || b.text().markup) return Value(as_markup(a) + as_markup(b), true);
    std::string text;
    text.reserve(a.string().size() + b.string().size());
    return Value(text.append(a.string()).append(b.string()));
  }
  if (a.is_string()) fault("can only concatenate str (not \"{}\") to str", type_name(b));
  const bool lists = a.is(Kind::List) && b.is(Kind::List);
  if (lists || (a.is(Kind::Tuple) && b.is(Kind::Tuple))) {
    budget.make((a.items().size() + b.items().size()) * sizeof(Value));
    Values items = a.items();
    items.insert(items.end(), b.items().begin(), b.items().end());
    return lists ? Value::list(std::move(items)) : Value::tuple(std::move(items));
  }
  unsupported(Operation::Add, a, b);
}

bool repeatable(const Value& value) {
  return value.is_string() || value.is(Kind::List) || value.is(Kind::Tuple);
}

// Bounds of a slice as Python clips them.
struct SliceRange {
  std::int64_t start, stop, step;
};

SliceRange clip(const Value& start, const Value& stop, const Value& step, std::int64_t size) {
  const auto part = [](const Value& value, std::int64_t otherwise) {
    if (value.is_none()) return otherwise;
    if (!value.is_integral()) fault("slice indices must be integers or None");
    return value.integer();
  };
  SliceRange range{0, 0, part(step, 1)};
  if (range.step == 0) fault("slice step cannot be zero");
  const bool forward = range.step > 0;
  const std::int64_t lowest = forward ? 0 : -1;
  const std::int64_t highest = forward ? size : size - 1;
  const auto clipped = [&](const Value& value, std::int64_t otherwise) {
    if (value.is_none()) return otherwise;
    std::int64_t at = part(value, 0);
    if (at < 0) at = at < -size ? lowest : std::max(at + size, lowest);
    return std::min(at, highest);
  };
  range.start = clipped(start, forward ? 0 : size - 1);
  range.stop = clipped(stop, forward ? size : -1);
  return range;
}

}  // namespace

std::string as_markup(const Value& text) {
  return text.text().markup ? text.string() : escape_html(text.string());
}

std::size_t find_text(std::string_view text, std::string_view needle, std::size_t from, Budget& budget) {
  if (from > text.size()) return std::string_view::npos;
  if (needle.empty()) return from;
  const void* found = ::memmem(text.data() + from, text.size() - from, needle.data(), needle.size());
  const std::size_t at = found == nullptr
                             ? std::string_view::npos
                             : static_cast<std::size_t>(static_cast<const char*>(found) - text.data());
  budget.scan((found == nullptr ? text.size() : at) - from + needle.size());
  return at;
}

bool equal(const Value& a, const Value& b, Budget& budget) {
  budget.step();
  if (a.is_number() && b.is_number()) {
    if (a.is_integral() && b.is_integral()) return a.integer() == b.integer();
    return a.number() == b.number();
  }
  if (a.kind() != b.kind()) return false;
  switch (a.kind()) {
    case Kind::Undefined:
    case Kind::None:
      return true;
    case Kind::String:
      budget.scan(std::min(a.string().size(), b.string().size()));
      return a.string() == b.string();
    case Kind::List:
    case Kind::Tuple:
    case Kind::View: {
      if (a.items().size() != b.items().size()) return false;
      for (std::size_t i = 0; i < a.items().size(); ++i) {
        if (!equal(a.items()[i], b.items()[i], budget)) return false;
      }
      return true;
    }
    case Kind::Dict: {
      if (a.dict().size() != b.dict().size()) return false;
      for (const auto& [key, value] : a.dict().entries()) {
        const Value* other = b.dict().find(key);
        if (other == nullptr || !equal(value, *other, budget)) return false;
      }
      return true;
    }
    default:
      return a.same_as(b);
  }
}

bool less(const Value& a, const Value& b, Budget& budget, std::string_view sign) {
  budget.step();
  require_defined(a);
  require_defined(b);
  if (a.is_number() && b.is_number()) {
    if (a.is_integral() && b.is_integral()) return a.integer() < b.integer();
    return a.number() < b.number();
  }
  if (a.is_string() && b.is_string()) {
    budget.scan(std::min(a.string().size(), b.string().size()));
    return a.string() < b.string();  // UTF-8's order is that of code points
  }
  if (a.kind() == b.kind() && (a.is(Kind::List) || a.is(Kind::Tuple))) {
    const std::size_t common = std::min(a.items().size(), b.items().size());
    for (std::size_t i = 0; i < common; ++i) {
      if (!equal(a.items()[i], b.items()[i], budget)) return less(a.items()[i], b.items()[i], budget, sign);
    }
    return a.items().size() < b.items().size();
  }
  fault("'{}' not supported between instances of '{}' and '{}'", sign, type_name(a), type_name(b));
}

bool contains(const Value& container, const Value& item, Budget& budget) {
  switch (container.kind()) {
    case Kind::String:
      if (!item.is_string()) {
        fault("'in <string>' requires string as left operand, not {}", type_name(item));
      }
      return find_text(container.string(), item.string(), 0, budget) != std::string_view::npos;
    case Kind::Dict:
      return container.dict().find(item) != nullptr;
    default: {
      if (!iterable(container)) fault("argument of type '{}' is not iterable", type_name(container));
      if (container.is(Kind::List) || container.is(Kind::Tuple) || container.is(Kind::View)) {
        return std::any_of(container.items().begin(), container.items().end(),
                           [&](const Value& value) { return equal(value, item, budget); });
      }
      const Values items = items_of(container, budget);
      return std::any_of(items.begin(), items.end(),
                         [&](const Value& value) { return equal(value, item, budget); });
    }
  }
}

bool compare(Operation operation, const Value& a, const Value& b, Budget& budget) {
  const bool numbers = a.is_number() && b.is_number();
  switch (operation) {
    case Operation::Equal:
      return equal(a, b, budget);
    case Operation::NotEqual:
      return !equal(a, b, budget);
    case Operation::Less:
      return less(a, b, budget);
    case Operation::Greater:
      return less(b, a, budget, ">");
    case Operation::LessEqual:  // NaN is neither
      return numbers ? less(a, b, budget) || equal(a, b, budget) : !less(b, a, budget, "<=");
    case Operation::GreaterEqual:
      return numbers ? less(b, a, budget) || equal(a, b, budget) : !less(a, b, budget, ">=");
    case Operation::In:
      return contains(b, a, budget);
    default:
      return !contains(b, a, budget);
  }
}

Value binary(Operation operation, const Value& a, const Value& b, Budget& budget) {
  if (operation == Operation::Modulo && a.is_string()) return percent_format(a, b, budget);
  require_defined(a);
  require_defined(b);
  if (a.is_number() && b.is_number()) return arithmetic(operation, a, b);
  if (operation == Operation::Add) return add(a, b, budget);
  if (operation == Operation::Multiply) {
    if (repeatable(a) && b.is_integral()) return repeat(a, b.integer(), budget);
    if (repeatable(b) && a.is_integral()) return repeat(b, a.integer(), budget);
  }
  unsupported(operation, a, b);
}

Value unary(Operation operation, const Value& value) {
  require_defined(value);
  const bool negates = operation == Operation::Negate;
  if (!value.is_number()) fault("bad operand type for unary {}: '{}'", negates ? '-' : '+', type_name(value));
  if (value.is(Kind::Float)) return Value(negates ? -value.number() : value.number());
  if (!negates) return Value(value.integer());
  if (value.integer() == std::numeric_limits<std::int64_t>::min()) overflow();
  return Value(-value.integer());
}

std::optional<Value> slice(const Value& value, const Value& start, const Value& stop, const Value& step,
                           Budget& budget) {
  const bool is_range = value.is(Kind::View) && value.sequence().name.ends_with(')');
  if (!value.is_string() && !value.is(Kind::List) && !value.is(Kind::Tuple) && !is_range) return std::nullopt;
  const std::int64_t size = length(value);
  const SliceRange range = clip(start, stop, step, size);
  if (value.is_string()) {
    const Text& text = value.text();
    budget.make(text.bytes.size());
    if (range.step == 1) {
      if (range.stop <= range.start) return Value(std::string(), text.markup);
      const auto first = static_cast<std::size_t>(range.start);
      const auto count = static_cast<std::size_t>(range.stop - range.start);
      if (text.ascii()) return Value(text.bytes.substr(first, count), text.markup);
      const std::size_t begin = offset_of(text.bytes, first);
      const std::size_t bytes = offset_of(std::string_view(text.bytes).substr(begin), count);
      return Value(text.bytes.substr(begin, bytes), text.markup);
    }
  }
  const Values whole = items_of(value, budget);
  Values items;
  for (std::int64_t i = range.start; range.step > 0 ? i < range.stop : i > range.stop;) {
    items.push_back(whole[static_cast<std::size_t>(i)]);
    if (__builtin_add_overflow(i, range.step, &i)) break;
  }
  if (value.is(Kind::Tuple)) return Value::tuple(std::move(items));
  if (is_range) return Value::view("range(...)", std::move(items));
  if (!value.is_string()) return Value::list(std::move(items));
  std::string text;
  for (const Value& item : items) text += item.string();
  return Value(std::move(text), value.text().markup);
}

}  // namespace thinkey::jinja
