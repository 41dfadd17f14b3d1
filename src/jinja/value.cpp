#include "jinja/value.h"

#include <algorithm>
#include <cmath>

#include "jinja/arguments.h"
#include "jinja/repr.h"
#include "jinja/unicode.h"

namespace thinkey::jinja {

namespace {

int checked_depth(int inner) {
  if (inner + 1 > kMostValueDepth) fault("values are nested deeper than {} levels", kMostValueDepth);
  return inner + 1;
}

// Exact integers among floats, which equal integers as keys.
std::optional<std::int64_t> as_exact_integer(double number) {
  if (!(std::abs(number) < 9.0e18) || std::floor(number) != number) return std::nullopt;
  return static_cast<std::int64_t>(number);
}

void append_hashed(const Value& key, std::string& out) {
  switch (key.kind()) {
    case Kind::Undefined:
      out += 'u';
      return;
    case Kind::None:
      out += 'n';
      return;
    case Kind::Boolean:
    case Kind::Integer:
      out += 'i' + std::to_string(key.integer());
      return;
    case Kind::Float: {
      const auto exact = as_exact_integer(key.number());
      out += exact ? 'i' + std::to_string(*exact) : 'f' + float_repr(key.number());
      return;
    }
    case Kind::String:
      out += 's';
      out += key.string();
      return;
    case Kind::Tuple:
      out += 't';
      for (const Value& item : key.items()) {
        std::string part;
        append_hashed(item, part);
        if (out.size() + part.size() > (std::size_t{1} << 20U)) fault("a tuple is too large for a key");
        out += std::to_string(part.size()) + ':' + part;
      }
      return;
    default:
      fault("unhashable type: '{}'", type_name(key));
  }
}

}  // namespace

Value::Value(std::string text, bool markup) : kind_(Kind::String) {
  const std::size_t length = count_characters(text);
  pointer_ = std::make_shared<Text>(Text{std::move(text), length, markup});
}
Value::Value(std::shared_ptr<const Dict> dict)
    : kind_(Kind::Dict), pointer_(std::const_pointer_cast<Dict>(std::move(dict))) {}
Value::Value(std::shared_ptr<Object> object) : kind_(Kind::Object), pointer_(std::move(object)) {}

Value Value::none() {
  Value value;
  value.kind_ = Kind::None;
  return value;
}

Value Value::undefined(std::string message) {
  Value value;
  value.pointer_ = std::make_shared<std::string>(std::move(message));
  return value;
}

Value Value::of_items(Kind kind, Values items, std::string name) {
  int inner = 0;
  for (const Value& item : items) inner = std::max(inner, item.depth());
  Value value;
  value.kind_ = kind;
  const int depth = checked_depth(inner);
  value.pointer_ = std::make_shared<Sequence>(Sequence{std::move(items), depth, std::move(name), 0});
  return value;
}

Value Value::list(Values items) { return of_items(Kind::List, std::move(items), {}); }
Value Value::tuple(Values items) { return of_items(Kind::Tuple, std::move(items), {}); }
Value Value::view(std::string name, Values items) {
  return of_items(Kind::View, std::move(items), std::move(name));
}
Value Value::iterator(Values items) { return of_items(Kind::Iterator, std::move(items), {}); }

const Dict& Value::dict() const noexcept { return *static_cast<const Dict*>(pointer_.get()); }
Object& Value::object() const noexcept { return *static_cast<Object*>(pointer_.get()); }
std::shared_ptr<Object> Value::shared_object() const { return std::static_pointer_cast<Object>(pointer_); }

std::string Value::message() const {
  return pointer_ ? *static_cast<const std::string*>(pointer_.get()) : "a value is undefined";
}

int Value::depth() const noexcept {
  if (has_items()) return sequence().depth;
  if (is(Kind::Dict)) return dict().depth();
  return is(Kind::Object) ? object().depth() : 0;
}

bool Value::same_as(const Value& other) const noexcept {
  if (kind_ != other.kind_) return false;
  switch (kind_) {
    case Kind::Undefined:
    case Kind::None:
      return true;
    case Kind::Boolean:
    case Kind::Integer:
      return integer_ == other.integer_;
    case Kind::Float:
      return number_ == other.number_;
    default:
      return pointer_ == other.pointer_;
  }
}

std::string hashed(const Value& key) {
  std::string out;
  append_hashed(key, out);
  return out;
}

void Dict::set(Value key, Value value) {
  std::string hash = hashed(key);
  depth_ = std::max(depth_, checked_depth(std::max(key.depth(), value.depth())));
  const auto [place, added] = index_.try_emplace(std::move(hash), entries_.size());
  if (added) {
    entries_.emplace_back(std::move(key), std::move(value));
  } else {
    entries_[place->second].second = std::move(value);
  }
}

const Value* Dict::find(const Value& key) const {
  if (key.is_string()) return find(std::string_view(key.string()));
  const auto found = index_.find(hashed(key));
  return found == index_.end() ? nullptr : &entries_[found->second].second;
}

const Value* Dict::find(std::string_view key) const {
  constexpr std::size_t kFew = 8;  // looked through without making a key
  if (entries_.size() <= kFew) {
    for (const Entry& entry : entries_) {
      if (entry.first.is_string() && entry.first.string() == key) return &entry.second;
    }
    return nullptr;
  }
  std::string hash(1, 's');
  hash += key;
  const auto found = index_.find(hash);
  return found == index_.end() ? nullptr : &entries_[found->second].second;
}

std::string Object::repr() const { fault("a {} has no text to print", type_name()); }
std::optional<Value> Object::attribute(Interpreter& /*run*/, std::string_view /*name*/) {
  return std::nullopt;
}
std::optional<Value> Object::item(const Value& /*key*/) { return std::nullopt; }
Value Object::call(Interpreter& /*run*/, Arguments /*arguments*/) {
  fault("'{}' object is not callable", type_name());
}

std::string type_name(const Value& value) {
  switch (value.kind()) {
    case Kind::Undefined:
      return "Undefined";
    case Kind::None:
      return "NoneType";
    case Kind::Boolean:
      return "bool";
    case Kind::Integer:
      return "int";
    case Kind::Float:
      return "float";
    case Kind::String:
      return value.text().markup ? "Markup" : "str";
    case Kind::List:
      return "list";
    case Kind::Tuple:
      return "tuple";
    case Kind::Dict:
      return "dict";
    case Kind::View:
      return value.sequence().name.substr(0, value.sequence().name.find('('));
    case Kind::Iterator:
      return "generator";
    case Kind::Object:
      return value.object().type_name();
  }
  return "object";
}

bool truthy(const Value& value) {
  switch (value.kind()) {
    case Kind::Undefined:
    case Kind::None:
      return false;
    case Kind::Boolean:
    case Kind::Integer:
      return value.integer() != 0;
    case Kind::Float:
      return value.number() != 0.0;
    case Kind::String:
      return !value.string().empty();
    case Kind::List:
    case Kind::Tuple:
    case Kind::View:
      return !value.items().empty();
    case Kind::Dict:
      return value.dict().size() > 0;
    default:
      return true;  // a generator does not know whether it is empty
  }
}

std::int64_t length(const Value& value) {
  switch (value.kind()) {
    case Kind::Undefined:
      return 0;
    case Kind::String:
      return static_cast<std::int64_t>(value.text().length);
    case Kind::List:
    case Kind::Tuple:
    case Kind::View:
      return static_cast<std::int64_t>(value.items().size());
    case Kind::Dict:
      return static_cast<std::int64_t>(value.dict().size());
    default:
      fault("object of type '{}' has no len()", type_name(value));
  }
}

bool iterable(const Value& value) {
  return value.is_undefined() || value.is_string() || value.is(Kind::Dict) || value.has_items();
}

Values items_of(const Value& value, Budget& budget) {
  Values items;
  switch (value.kind()) {
    case Kind::Undefined:
      return items;
    case Kind::String: {
      budget.make(value.text().length * (sizeof(Value) + sizeof(Text)));
      const std::string& text = value.string();
      for (std::size_t at = 0; at < text.size();) {
        const std::size_t bytes = character_bytes(text, at);
        items.emplace_back(text.substr(at, bytes), value.text().markup);
        at += bytes;
      }
      return items;
    }
    case Kind::Dict:
      budget.make(value.dict().size() * sizeof(Value));
      for (const Dict::Entry& entry : value.dict().entries()) items.push_back(entry.first);
      return items;
    case Kind::Iterator: {
      Sequence& state = value.iterator_state();
      budget.make((state.items.size() - state.position) * sizeof(Value));
      items.assign(state.items.begin() + static_cast<std::ptrdiff_t>(state.position), state.items.end());
      state.position = state.items.size();
      return items;
    }
    default:
      if (!value.has_items()) fault("'{}' object is not iterable", type_name(value));
      budget.make(value.items().size() * sizeof(Value));
      return value.items();
  }
}

void require_defined(const Value& value) {
  if (value.is_undefined()) fault("{}", value.message());
}

}  // namespace thinkey::jinja
