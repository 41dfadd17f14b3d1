#include "server/schema/json_grammar.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <set>
#include <utility>

#include "formats/printable.h"

namespace thinkey::server {
namespace {

constexpr std::int64_t kMostRepeats = 4096;  // of a bound: each is a rule
constexpr std::size_t kMostSchemas = 2000;
constexpr std::int64_t kMostInteger = 1'000'000'000'000'000;
constexpr int kMostDigits = 16;  // of a number without bounds, before and after the point

constexpr std::array<const char*, 12> kAnnotations = {"title",    "description", "default",  "examples",
                                                      "$schema",  "$id",         "$comment", "deprecated",
                                                      "readOnly", "writeOnly",   "$defs",    "definitions"};

ByteSet one_of(std::string_view characters) {
  ByteSet set;
  for (const char c : characters) set.set(static_cast<unsigned char>(c));
  return set;
}

std::string dump(const OrderedJson& json) { return json.dump(); }

}  // namespace

JsonGrammar::JsonGrammar(Grammar& grammar) : g_(grammar) {
  const ByteSet digits = bytes_between('0', '9');
  const auto set = [&](const ByteSet& bytes) { return Sequence{g_.bytes(bytes)}; };

  // At most one line break, and indentation: a model cannot fill its answer with white space.
  constexpr int kDeepest = 24;
  Grammar::Rule indent = g_.rule({{}});
  for (int i = 0; i < kDeepest; ++i) indent = g_.rule({{}, text(" ") + call(indent)});
  space_ = g_.rule({{}, text(" "), text("\n") + call(indent)});

  const Sequence hex = set(bytes_between('0', '9') | bytes_between('a', 'f') | bytes_between('A', 'F'));
  const Sequence tail = set(bytes_between(0x80, 0xBF));
  ByteSet plain = bytes_between(0x20, 0x7F);
  plain.reset('"');
  plain.reset('\\');
  // A surrogate's escape must have its other half.
  const ByteSet not_d = bytes_between('0', '9') | one_of("abcefABCEF");
  character_ = g_.rule({
      set(plain),
      text("\\") + set(one_of("\"\\/bfnrt")),
      text("\\u") + set(not_d) + hex + hex + hex,
      text("\\u") + set(one_of("dD")) + set(bytes_between('0', '7')) + hex + hex,
      text("\\u") + set(one_of("dD")) + set(one_of("89abAB")) + hex + hex + text("\\u") + set(one_of("dD")) +
          set(one_of("cdefCDEF")) + hex + hex,
      // UTF-8 as Unicode's table 3-7 defines it.
      set(bytes_between(0xC2, 0xDF)) + tail,
      set(bytes_between(0xE0, 0xE0)) + set(bytes_between(0xA0, 0xBF)) + tail,
      set(bytes_between(0xE1, 0xEC) | bytes_between(0xEE, 0xEF)) + tail + tail,
      set(bytes_between(0xED, 0xED)) + set(bytes_between(0x80, 0x9F)) + tail,
      set(bytes_between(0xF0, 0xF0)) + set(bytes_between(0x90, 0xBF)) + tail + tail,
      set(bytes_between(0xF1, 0xF3)) + tail + tail + tail,
      set(bytes_between(0xF4, 0xF4)) + set(bytes_between(0x80, 0x8F)) + tail + tail,
  });
  string_ = g_.rule({text("\"") + call(repeat(call(character_), {}, 0, -1)) + text("\"")});

  Grammar::Rule some_digits = g_.rule({{}});
  for (int i = 1; i < kMostDigits; ++i) some_digits = g_.rule({{}, set(digits) + call(some_digits)});
  const Sequence many = set(digits) + call(some_digits);
  integer_ = g_.rule({text("0"), set(bytes_between('1', '9')) + call(some_digits),
                      text("-") + set(bytes_between('1', '9')) + call(some_digits)});
  const Grammar::Rule fraction = g_.rule({{}, text(".") + many});
  const Grammar::Rule sign = g_.rule({{}, text("+"), text("-")});
  const Grammar::Rule exponent = g_.rule({{},
                                          set(one_of("eE")) + call(sign) + set(digits),
                                          set(one_of("eE")) + call(sign) + set(digits) + set(digits)});
  const Grammar::Rule natural = g_.rule({text("0"), set(bytes_between('1', '9')) + call(some_digits)});
  const Grammar::Rule minus = g_.rule({{}, text("-")});
  number_ = g_.rule({call(minus) + call(natural) + call(fraction) + call(exponent)});

  value_ = g_.new_rule();
  object_ = map_of(value_);
  array_ = g_.rule({text("[") + call(space_) +
                    call(repeat(call(value_), call(space_) + text(",") + call(space_), 0, -1)) +
                    call(space_) + text("]")});
  g_.add(value_, call(object_));
  g_.add(value_, call(array_));
  g_.add(value_, call(string_));
  g_.add(value_, call(number_));
  for (const char* word : {"true", "false", "null"}) g_.add(value_, text(word));
}

Grammar::Rule JsonGrammar::repeat(const Sequence& item, const Sequence& separator, std::int64_t least,
                                  std::int64_t most) {
  // more: what may follow after at least one item.
  const Sequence next = separator + item;
  Grammar::Rule more = 0;
  if (most < 0) {
    more = g_.new_rule();
    g_.add(more, {});
    g_.add(more, next + call(more));
  } else {
    more = g_.rule({{}});
    for (std::int64_t i = std::max<std::int64_t>(least, 1); i < most; ++i) {
      more = g_.rule({{}, next + call(more)});
    }
    if (most == 0) return more;
  }
  for (std::int64_t i = 1; i < least; ++i) more = g_.rule({next + call(more)});
  const Sequence some = item + call(more);
  return least > 0 ? g_.rule({some}) : g_.rule({{}, some});
}

Grammar::Rule JsonGrammar::map_of(Grammar::Rule value) {
  const Sequence entry = call(string_) + call(space_) + colon() + call(value);
  return g_.rule({text("{") + call(space_) +
                  call(repeat(entry, call(space_) + text(",") + call(space_), 0, -1)) + call(space_) +
                  text("}")});
}

Grammar::Rule JsonGrammar::schema(const OrderedJson& document, const std::string& path) {
  document_ = &document;
  root_ = path;
  references_.clear();
  heads_.clear();
  open_ = {""};
  return compile(document, path);
}

bool JsonGrammar::begins_with_open(const std::string& reference) const {
  std::set<std::string> seen;
  std::vector<std::string> left = {reference};
  while (!left.empty()) {
    const std::string at = std::move(left.back());
    left.pop_back();
    if (!seen.insert(at).second) continue;
    if (std::find(open_.begin(), open_.end(), at) != open_.end()) return true;
    if (const auto heads = heads_.find(at); heads != heads_.end()) {
      left.insert(left.end(), heads->second.begin(), heads->second.end());
    }
  }
  return false;
}

Grammar::Rule JsonGrammar::reference(const OrderedJson& schema, const std::string& path) {
  const OrderedJson& ref = schema["$ref"];
  if (!ref.is_string() || !ref.get<std::string>().starts_with('#')) {
    refuse(path + ".$ref", "{}.$ref must be a reference within the document, such as \"#/$defs/name\"", path);
  }
  const auto pointer = ref.get<std::string>().substr(1);
  if (begins_with_open(pointer)) {
    refuse(path + ".$ref", "{}.$ref: \"{}\" refers to itself", path, printable(ref.get<std::string>(), 80));
  }
  if (!open_.empty()) heads_[open_.back()].insert(pointer);
  if (const auto known = references_.find(pointer); known != references_.end()) return known->second;
  const OrderedJson* target = nullptr;
  try {
    target = &document_->at(OrderedJson::json_pointer(pointer));
  } catch (const nlohmann::json::exception&) {
    refuse(path + ".$ref", "{}.$ref: there is no \"{}\" in the document", path,
           printable(ref.get<std::string>(), 80));
  }
  const Grammar::Rule rule = g_.new_rule();
  references_[pointer] = rule;
  open_.push_back(pointer);
  const Grammar::Rule body = compile(*target, root_ + pointer);
  open_.pop_back();
  g_.add(rule, call(body));
  return rule;
}

Grammar::Rule JsonGrammar::compile(const OrderedJson& schema, const std::string& path) {
  if (++schemas_ > kMostSchemas) refuse(path, "the schema has more than {} parts", kMostSchemas);
  if (schema.is_boolean() && schema.get<bool>()) return value_;
  if (!schema.is_object()) refuse(path, "{} must be a schema object", path);

  std::set<std::string> known(kAnnotations.begin(), kAnnotations.end());
  const auto finish = [&](std::initializer_list<const char*> used) {
    known.insert(used.begin(), used.end());
    for (const auto& [key, value] : schema.items()) {
      if (!known.contains(key)) {
        refuse(path + "." + key, "{}: \"{}\" is outside the subset of JSON Schema that this server enforces",
               path, printable(key, 60));
      }
    }
  };
  if (schema.contains("$ref")) {
    finish({"$ref"});
    return reference(schema, path);
  }
  if (schema.contains("const")) {
    finish({"const", "type"});
    return g_.rule({text(dump(schema["const"]))});
  }
  if (schema.contains("enum")) {
    finish({"enum", "type"});
    if (!schema["enum"].is_array() || schema["enum"].empty()) {
      refuse(path + ".enum", "{}.enum must be a list", path);
    }
    const Grammar::Rule rule = g_.new_rule();
    for (const OrderedJson& value : schema["enum"]) g_.add(rule, text(dump(value)));
    return rule;
  }
  for (const char* word : {"anyOf", "allOf"}) {
    if (!schema.contains(word)) continue;
    finish({word});
    const OrderedJson& list = schema[word];
    if (!list.is_array() || list.empty()) {
      refuse(path + "." + word, "{}.{} must be a list of schemas", path, word);
    }
    if (std::string_view(word) == "allOf" && list.size() > 1) {
      refuse(path + ".allOf", "{}.allOf: only one schema can be enforced", path);
    }
    const Grammar::Rule rule = g_.new_rule();
    for (std::size_t i = 0; i < list.size(); ++i) {
      g_.add(rule, call(compile(list[i], fmt::format("{}.{}[{}]", path, word, i))));
    }
    return rule;
  }
  finish({"type", "properties", "required", "additionalProperties", "items", "minItems", "maxItems",
          "minLength", "maxLength", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"});
  if (!schema.contains("type")) {
    if (schema.contains("properties") || schema.contains("required")) return object(schema, path);
    if (schema.contains("items")) return array(schema, path);
    for (const auto& [key, value] : schema.items()) {
      if (std::find(kAnnotations.begin(), kAnnotations.end(), key) == kAnnotations.end()) {
        refuse(path + "." + key, "{}: \"{}\" needs a \"type\" beside it", path, printable(key, 60));
      }
    }
    return value_;
  }
  const OrderedJson& type = schema["type"];
  const Grammar::Rule rule = g_.new_rule();
  if (type.is_string()) {
    add_type(rule, type.get<std::string>(), schema, path);
  } else if (type.is_array() && !type.empty()) {
    for (const OrderedJson& one : type) {
      if (!one.is_string()) refuse(path + ".type", "{}.type must be a word or a list of words", path);
      add_type(rule, one.get<std::string>(), schema, path);
    }
  } else {
    refuse(path + ".type", "{}.type must be a word or a list of words", path);
  }
  return rule;
}

void JsonGrammar::add_type(Grammar::Rule rule, const std::string& type, const OrderedJson& schema,
                           const std::string& path) {
  if (type == "null") return g_.add(rule, text("null"));
  if (type == "boolean") {
    g_.add(rule, text("true"));
    return g_.add(rule, text("false"));
  }
  if (type == "string") return g_.add(rule, call(string(schema, path)));
  if (type == "integer" || type == "number") {
    return g_.add(rule, call(number(schema, path, type == "integer")));
  }
  if (type == "array") return g_.add(rule, call(array(schema, path)));
  if (type == "object") return g_.add(rule, call(object(schema, path)));
  refuse(path + ".type", "{}.type: \"{}\" is no type", path, printable(type, 40));
}

namespace {

std::int64_t count_of(const OrderedJson& schema, const char* name, std::int64_t otherwise,
                      const std::string& path) {
  if (!schema.contains(name)) return otherwise;
  const OrderedJson& value = schema[name];
  if (!value.is_number_integer() || value.get<std::int64_t>() < 0 ||
      value.get<std::int64_t>() > kMostRepeats) {
    refuse(path + "." + name, "{}.{} must be a whole number, 0 to {}", path, name, kMostRepeats);
  }
  return value.get<std::int64_t>();
}

void check_order(std::int64_t least, std::int64_t most, const std::string& path) {
  if (most >= 0 && least > most) refuse(path, "{}: its bounds leave nothing", path);
}

}  // namespace

Grammar::Rule JsonGrammar::string(const OrderedJson& schema, const std::string& path) {
  const std::int64_t least = count_of(schema, "minLength", 0, path);
  const std::int64_t most = count_of(schema, "maxLength", -1, path);
  check_order(least, most, path);
  if (least == 0 && most < 0) return string_;
  return g_.rule({text("\"") + call(repeat(call(character_), {}, least, most)) + text("\"")});
}

Grammar::Rule JsonGrammar::array(const OrderedJson& schema, const std::string& path) {
  const std::int64_t least = count_of(schema, "minItems", 0, path);
  const std::int64_t most = count_of(schema, "maxItems", -1, path);
  check_order(least, most, path);
  const std::vector<std::string> outside = std::exchange(open_, {});  // a bracket comes first
  const Grammar::Rule item = schema.contains("items") ? compile(schema["items"], path + ".items") : value_;
  open_ = outside;
  return g_.rule({text("[") + call(space_) +
                  call(repeat(call(item), call(space_) + text(",") + call(space_), least, most)) +
                  call(space_) + text("]")});
}

Grammar::Rule JsonGrammar::object(const OrderedJson& schema, const std::string& path) {
  std::set<std::string> required;
  if (schema.contains("required")) {
    if (!schema["required"].is_array()) {
      refuse(path + ".required", "{}.required must be a list of names", path);
    }
    for (const OrderedJson& name : schema["required"]) {
      if (!name.is_string()) refuse(path + ".required", "{}.required must be a list of names", path);
      required.insert(name.get<std::string>());
    }
  }
  const std::vector<std::string> outside = std::exchange(open_, {});  // a bracket comes first
  Grammar::Rule others = value_;
  if (schema.contains("additionalProperties") && schema["additionalProperties"].is_object()) {
    others = compile(schema["additionalProperties"], path + ".additionalProperties");
  }
  struct Property {
    Sequence entry;
    bool required;
  };
  std::vector<Property> properties;
  const auto add = [&](const std::string& name, Grammar::Rule value, bool needed) {
    properties.push_back({text(dump(OrderedJson(name))) + call(space_) + colon() + call(value), needed});
  };
  if (schema.contains("properties")) {
    if (!schema["properties"].is_object()) {
      refuse(path + ".properties", "{}.properties must be an object", path);
    }
    for (const auto& [name, value] : schema["properties"].items()) {
      add(name, compile(value, path + ".properties." + name), required.erase(name) > 0);
    }
  }
  open_ = outside;
  for (const std::string& name : required) add(name, others, true);
  const bool closed = schema.contains("additionalProperties") && schema["additionalProperties"] == false;
  if (properties.empty() && !closed) return map_of(others);

  // From the last property to the first: what may follow when something stands before it, and when nothing
  // does.
  const Sequence end = call(space_) + text("}");
  Grammar::Rule rest = g_.rule({end});
  Grammar::Rule first = rest;
  const Sequence comma = call(space_) + text(",") + call(space_);
  for (auto property = properties.rbegin(); property != properties.rend(); ++property) {
    const Sequence after = property->entry + call(rest);
    std::vector<Sequence> when_first = {call(space_) + after};
    std::vector<Sequence> when_not = {comma + after};
    if (!property->required) {
      when_first.push_back(call(first));
      when_not.push_back(call(rest));
    }
    first = g_.rule(when_first);
    rest = g_.rule(when_not);
  }
  return g_.rule({text("{") + call(first)});
}

JsonGrammar::Bounds JsonGrammar::bounds(const OrderedJson& schema, const std::string& path,
                                        bool whole) const {
  Bounds out;
  const auto read = [&](const char* name, bool low, bool exclusive) {
    if (!schema.contains(name)) return;
    const OrderedJson& value = schema[name];
    const double number = value.is_number() ? value.get<double>() : NAN;
    if (!(std::abs(number) <= static_cast<double>(kMostInteger)) ||
        (!whole && number != std::floor(number))) {
      refuse(path + "." + name, "{}.{} must be a whole number of at most 15 digits", path, name);
    }
    auto bound = static_cast<std::int64_t>(low ? std::ceil(number) : std::floor(number));
    if (whole && exclusive && static_cast<double>(bound) == number) bound += low ? 1 : -1;
    bool& has = low ? out.has_least : out.has_most;
    std::int64_t& to = low ? out.least : out.most;
    bool& excludes = low ? out.excludes_least : out.excludes_most;
    const bool tighter = !has || (low ? bound > to : bound < to);
    if (tighter) excludes = !whole && exclusive;
    if (has && bound == to) excludes = excludes || (!whole && exclusive);
    if (tighter) to = bound;
    has = true;
  };
  read("minimum", true, false);
  read("exclusiveMinimum", true, true);
  read("maximum", false, false);
  read("exclusiveMaximum", false, true);
  return out;
}

void JsonGrammar::add_range(Grammar::Rule rule, const std::string& sign, std::int64_t least,
                            std::int64_t most, const Sequence& tail) {
  const auto digit = [&](int from, int to) {
    return Sequence{g_.bytes(
        bytes_between(static_cast<unsigned char>('0' + from), static_cast<unsigned char>('0' + to)))};
  };
  const auto digits = [&](std::size_t n) {
    Sequence out;
    for (std::size_t i = 0; i < n; ++i) out = out + digit(0, 9);
    return out;
  };
  // Numbers of as many digits as `low` and `high`, from one to the other.
  const auto same_length = [&](const std::string& low, const std::string& high) {
    const auto add = [&](const Sequence& number) { g_.add(rule, text(sign) + number + tail); };
    const std::size_t n = low.size();
    std::size_t shared = 0;
    while (shared < n && low[shared] == high[shared]) ++shared;
    if (shared == n) return add(text(low));
    // Between the two at the first digit that differs; then what begins like the one, and like the other.
    const std::string prefix = low.substr(0, shared);
    if (low[shared] + 1 <= high[shared] - 1) {
      add(text(prefix) + digit(low[shared] - '0' + 1, high[shared] - '0' - 1) + digits(n - shared - 1));
    }
    for (std::size_t i = shared + 1; i < n; ++i) {
      if (low[i] < '9') add(text(low.substr(0, i)) + digit(low[i] - '0' + 1, 9) + digits(n - i - 1));
      if (high[i] > '0') add(text(high.substr(0, i)) + digit(0, high[i] - '0' - 1) + digits(n - i - 1));
    }
    add(text(low));
    add(text(high));
  };
  if (most < 0) most = kMostInteger;
  for (std::string low = std::to_string(least); least <= most; low = std::to_string(least)) {
    const std::string nines(low.size(), '9');
    const std::int64_t last = std::min<std::int64_t>(most, std::stoll(nines));
    same_length(low, std::to_string(last));
    least = last + 1;
  }
}

Grammar::Rule JsonGrammar::number(const OrderedJson& schema, const std::string& path, bool whole) {
  const Bounds b = bounds(schema, path, whole);
  if (!b.has_least && !b.has_most) return whole ? integer_ : number_;
  const bool empty = b.has_least && b.has_most &&
                     (b.least > b.most || (b.least == b.most && (b.excludes_least || b.excludes_most)));
  if (empty) refuse(path, "{}: its bounds leave nothing", path);

  const ByteSet digits = bytes_between('0', '9');
  Grammar::Rule more = g_.rule({{}});
  for (int i = 1; i < kMostDigits; ++i) more = g_.rule({{}, Sequence{g_.bytes(digits)} + call(more)});
  const Grammar::Rule fraction =
      whole ? g_.rule({{}}) : g_.rule({{}, text(".") + Sequence{g_.bytes(digits)} + call(more)});
  // A fraction that is not 0.
  Grammar::Rule above = g_.rule({Sequence{g_.bytes(bytes_between('1', '9'))} + call(more)});
  for (int i = 1; i < kMostDigits; ++i) {
    above = g_.rule({Sequence{g_.bytes(bytes_between('1', '9'))} + call(more), text("0") + call(above)});
  }
  const Sequence some_above = text(".") + call(above);

  const Grammar::Rule rule = g_.new_rule();
  // Magnitudes from `from` to `to` (-1: no end) under a sign; of numbers the ends may be excluded.
  const auto magnitudes = [&](const std::string& sign, std::int64_t from, std::int64_t to, bool excludes_from,
                              bool excludes_to) {
    if (whole) return add_range(rule, sign, from, to, {});
    if (!excludes_from) g_.add(rule, text(sign + std::to_string(from)));
    if (to < 0 || from < to) g_.add(rule, text(sign + std::to_string(from)) + some_above);
    if (to < 0 || from + 1 <= to - 1) add_range(rule, sign, from + 1, to < 0 ? -1 : to - 1, call(fraction));
    if (to > from && !excludes_to) g_.add(rule, text(sign + std::to_string(to)));
  };
  if (!b.has_most || b.most >= 0) {
    const bool from_bound = b.has_least && b.least >= 0;
    magnitudes("", from_bound ? b.least : 0, b.has_most ? b.most : -1, from_bound && b.excludes_least,
               b.has_most && b.excludes_most);
  }
  if (!b.has_least || b.least < 0) {
    const bool from_bound = b.has_most && b.most < 0;
    magnitudes("-", from_bound ? -b.most : (whole ? 1 : 0), b.has_least ? -b.least : -1,
               from_bound && b.excludes_most, b.has_least && b.excludes_least);
  }
  return rule;
}

}  // namespace thinkey::server
