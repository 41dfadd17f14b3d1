#include "jinja/methods.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "jinja/operators.h"

namespace thinkey::jinja {

namespace {

using Names = std::initializer_list<std::string_view>;

bool among(std::string_view name, Names names) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

MethodState string_state(std::string_view name) {
  if (among(name, {"capitalize",  "casefold",   "center",     "count",        "endswith",     "expandtabs",
                   "find",        "format",     "format_map", "index",        "isalnum",      "isalpha",
                   "isascii",     "isdecimal",  "isdigit",    "isidentifier", "islower",      "isnumeric",
                   "isprintable", "isspace",    "istitle",    "isupper",      "join",         "ljust",
                   "lower",       "lstrip",     "partition",  "removeprefix", "removesuffix", "replace",
                   "rfind",       "rindex",     "rjust",      "rpartition",   "rsplit",       "rstrip",
                   "split",       "splitlines", "startswith", "strip",        "swapcase",     "title",
                   "upper",       "zfill"})) {
    return MethodState::Here;
  }
  return among(name, {"encode", "maketrans", "translate"}) ? MethodState::Unsupported : MethodState::None;
}

MethodState list_state(std::string_view name) {
  if (among(name, {"append", "clear", "extend", "insert", "pop", "remove", "reverse", "sort"})) {
    return MethodState::Unsafe;
  }
  return among(name, {"copy", "count", "index"}) ? MethodState::Here : MethodState::None;
}

MethodState dict_state(std::string_view name) {
  if (among(name, {"clear", "pop", "popitem", "setdefault", "update"})) return MethodState::Unsafe;
  if (among(name, {"get", "items", "keys", "values", "copy"})) return MethodState::Here;
  return name == "fromkeys" ? MethodState::Unsupported : MethodState::None;
}

Value count_in(Interpreter& run, const Value& self, Arguments arguments) {
  const Bound bound("count", std::move(arguments), {"value"}, 1);
  std::int64_t count = 0;
  for (const Value& item : self.items()) count += equal(item, bound.at(0), run.budget()) ? 1 : 0;
  return Value(count);
}

Value index_in(Interpreter& run, const Value& self, Arguments arguments) {
  const Bound bound("index", std::move(arguments), {"value", "start", "stop"}, 1);
  const auto size = static_cast<std::int64_t>(self.items().size());
  const auto clipped = [size](std::int64_t at) { return at < 0 ? std::max(at + size, std::int64_t{0}) : at; };
  const std::int64_t stop = std::min(clipped(bound.integer(2, size)), size);
  for (std::int64_t i = clipped(bound.integer(1, 0)); i < stop; ++i) {
    if (equal(self.items()[static_cast<std::size_t>(i)], bound.at(0), run.budget())) return Value(i);
  }
  fault("the value is not in the {}", type_name(self));
}

Value call_dict_method(Interpreter& run, const Value& self, std::string_view name, Arguments arguments) {
  const Dict& dict = self.dict();
  if (name == "get") {
    const Bound bound("get", std::move(arguments), {"key", "default"}, 1);
    if (const Value* found = dict.find(bound.at(0))) return *found;
    static_cast<void>(hashed(bound.at(0)));  // a key that cannot be one is an error
    return bound.has(1) ? bound.at(1) : Value::none();
  }
  if (!arguments.empty()) fault("dict.{}() takes no arguments", name);
  if (name == "copy") return self;  // nothing can tell them apart
  run.budget().make(dict.size() * 4 * sizeof(Value));
  Values items;
  for (const auto& [key, value] : dict.entries()) {
    if (name == "keys") {
      items.push_back(key);
    } else if (name == "values") {
      items.push_back(value);
    } else {
      items.push_back(Value::tuple({key, value}));
    }
  }
  return Value::view("dict_" + std::string(name), std::move(items));
}

}  // namespace

MethodState method_state(const Value& self, std::string_view name) {
  switch (self.kind()) {
    case Kind::String:
      return string_state(name);
    case Kind::List:
      return list_state(name);
    case Kind::Tuple:
      return among(name, {"count", "index"}) ? MethodState::Here : MethodState::None;
    case Kind::Dict:
      return dict_state(name);
    case Kind::Boolean:
    case Kind::Integer:
      if (among(name, {"real", "numerator", "imag", "denominator", "bit_length", "bit_count", "to_bytes",
                       "from_bytes", "conjugate", "as_integer_ratio"})) {
        return MethodState::Unsupported;
      }
      return MethodState::None;
    case Kind::Float:
      if (name == "is_integer") return MethodState::Here;
      if (among(name, {"real", "imag", "hex", "fromhex", "conjugate", "as_integer_ratio"})) {
        return MethodState::Unsupported;
      }
      return MethodState::None;
    case Kind::View:
      if (among(name, {"mapping", "isdisjoint", "start", "stop", "step", "count", "index"})) {
        return MethodState::Unsupported;
      }
      return MethodState::None;
    default:
      return MethodState::None;
  }
}

Value call_method(Interpreter& run, const Value& self, std::string_view name, Arguments arguments) {
  switch (self.kind()) {
    case Kind::String:
      return call_string_method(run, self, name, std::move(arguments));
    case Kind::Dict:
      return call_dict_method(run, self, name, std::move(arguments));
    case Kind::Float:
      return Value(std::isfinite(self.number()) && std::floor(self.number()) == self.number());
    default:
      if (name == "count") return count_in(run, self, std::move(arguments));
      if (name == "index") return index_in(run, self, std::move(arguments));
      return self;  // copy
  }
}

}  // namespace thinkey::jinja
