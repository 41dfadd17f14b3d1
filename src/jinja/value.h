// What a template computes with: Python's values, as far as chat templates use them. Values never change
// once made, as in Jinja's immutable sandbox; only namespaces, loops and iterators have a state.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "jinja/budget.h"

namespace thinkey::jinja {

class Dict;
class Object;
class Value;
using Values = std::vector<Value>;

enum class Kind : std::uint8_t {
  Undefined,
  None,
  Boolean,
  Integer,
  Float,
  String,
  List,
  Tuple,
  Dict,
  View,      // dict.items() and its like, range(): has a length, is iterated any number of times
  Iterator,  // what filters such as map give: iterated once, without a length
  Object,
};

struct Text {
  std::string bytes;       // valid UTF-8
  std::size_t length = 0;  // in code points
  bool markup = false;     // markupsafe's Markup: what is added to it is escaped
  [[nodiscard]] bool ascii() const noexcept { return length == bytes.size(); }
};

struct Sequence {
  Values items;
  int depth = 1;
  std::string name;          // View: "dict_items", "range(0, 3)"
  std::size_t position = 0;  // Iterator: items already taken
};

class Value {
 public:
  Value() = default;  // an undefined without a name
  explicit Value(bool value) : kind_(Kind::Boolean), integer_(value ? 1 : 0) {}
  explicit Value(std::int64_t value) : kind_(Kind::Integer), integer_(value) {}
  explicit Value(double value) : kind_(Kind::Float), number_(value) {}
  explicit Value(std::string text, bool markup = false);
  explicit Value(std::shared_ptr<const Dict> dict);
  explicit Value(std::shared_ptr<Object> object);
  [[nodiscard]] static Value none();
  // `unsafe`: the sandbox forbids it; calling it says so.
  [[nodiscard]] static Value undefined(std::string message);
  // Throws Fault when nested deeper than kMostValueDepth.
  [[nodiscard]] static Value list(Values items);
  [[nodiscard]] static Value tuple(Values items);
  [[nodiscard]] static Value view(std::string name, Values items);
  [[nodiscard]] static Value iterator(Values items);

  [[nodiscard]] Kind kind() const noexcept { return kind_; }
  [[nodiscard]] bool is(Kind kind) const noexcept { return kind_ == kind; }
  [[nodiscard]] bool is_undefined() const noexcept { return kind_ == Kind::Undefined; }
  [[nodiscard]] bool is_none() const noexcept { return kind_ == Kind::None; }
  [[nodiscard]] bool is_string() const noexcept { return kind_ == Kind::String; }
  [[nodiscard]] bool is_number() const noexcept {
    return kind_ == Kind::Boolean || kind_ == Kind::Integer || kind_ == Kind::Float;
  }
  [[nodiscard]] bool is_integral() const noexcept { return kind_ == Kind::Boolean || kind_ == Kind::Integer; }
  [[nodiscard]] bool has_items() const noexcept {
    return kind_ == Kind::List || kind_ == Kind::Tuple || kind_ == Kind::View || kind_ == Kind::Iterator;
  }

  // The kind must be right.
  [[nodiscard]] bool boolean() const noexcept { return integer_ != 0; }
  [[nodiscard]] std::int64_t integer() const noexcept { return integer_; }  // booleans too
  [[nodiscard]] double number() const noexcept {
    return kind_ == Kind::Float ? number_ : static_cast<double>(integer_);
  }
  [[nodiscard]] const Text& text() const noexcept { return *static_cast<const Text*>(pointer_.get()); }
  [[nodiscard]] const std::string& string() const noexcept { return text().bytes; }
  [[nodiscard]] const Sequence& sequence() const noexcept {
    return *static_cast<const Sequence*>(pointer_.get());
  }
  [[nodiscard]] Sequence& iterator_state() const noexcept {  // Iterator
    return *static_cast<Sequence*>(pointer_.get());
  }
  [[nodiscard]] const Values& items() const noexcept { return sequence().items; }
  [[nodiscard]] const Dict& dict() const noexcept;
  [[nodiscard]] Object& object() const noexcept;
  [[nodiscard]] std::shared_ptr<Object> shared_object() const;
  // Of an undefined: why, as Jinja says it.
  [[nodiscard]] std::string message() const;

  [[nodiscard]] int depth() const noexcept;
  [[nodiscard]] bool same_as(const Value& other) const noexcept;  // Python's `is`, nearly

 private:
  static Value of_items(Kind kind, Values items, std::string name);

  Kind kind_ = Kind::Undefined;
  union {
    std::int64_t integer_ = 0;
    double number_;
  };
  std::shared_ptr<void> pointer_;
};

// Keys in the order in which they came. Integers, integral floats and booleans that are equal are one key.
class Dict {
 public:
  using Entry = std::pair<Value, Value>;

  // Replaces the value of an equal key. Throws Fault for a key that Python cannot hash, and beyond
  // kMostValueDepth.
  void set(Value key, Value value);
  void set(std::string_view key, Value value) { set(Value(std::string(key)), std::move(value)); }
  [[nodiscard]] const Value* find(const Value& key) const;
  [[nodiscard]] const Value* find(std::string_view key) const;
  [[nodiscard]] const std::vector<Entry>& entries() const noexcept { return entries_; }
  [[nodiscard]] std::size_t size() const noexcept { return entries_.size(); }
  [[nodiscard]] int depth() const noexcept { return depth_; }

 private:
  [[nodiscard]] const std::size_t* position(const std::string& key) const;

  std::vector<Entry> entries_;
  std::map<std::string, std::size_t, std::less<>> index_;  // by hashed(), a tree: nobody can make it slow
  int depth_ = 1;
};

// Things with a state or a behaviour of their own: namespaces, macros, functions, methods.
class Interpreter;
struct Arguments;
class Object {
 public:
  // Throws Fault beyond kMostValueDepth.
  explicit Object(int depth = 0) : depth_(depth) {
    if (depth > kMostValueDepth) fault("values are nested deeper than {} levels", kMostValueDepth);
  }
  virtual ~Object() = default;
  Object(const Object&) = delete;
  Object& operator=(const Object&) = delete;

  [[nodiscard]] virtual std::string type_name() const = 0;
  [[nodiscard]] virtual std::string repr() const;  // as printed; Fault where Python would print an address
  [[nodiscard]] virtual std::optional<Value> attribute(Interpreter& run, std::string_view name);
  [[nodiscard]] virtual std::optional<Value> item(const Value& key);
  [[nodiscard]] virtual bool callable() const { return false; }
  [[nodiscard]] virtual Value call(Interpreter& run, Arguments arguments);
  [[nodiscard]] int depth() const noexcept { return depth_; }

 private:
  int depth_;
};

// Text that is equal exactly for keys that are; Fault "unhashable type".
[[nodiscard]] std::string hashed(const Value& key);

[[nodiscard]] std::string type_name(const Value& value);  // "str", "dict", "NoneType", ...
[[nodiscard]] bool truthy(const Value& value);
// Fault for a value without a length.
[[nodiscard]] std::int64_t length(const Value& value);
[[nodiscard]] bool iterable(const Value& value);
// All items (keys of a dict, characters of a string); an iterator is used up. Fault when not iterable.
[[nodiscard]] Values items_of(const Value& value, Budget& budget);
// Throws Fault with the reason when the value is undefined.
void require_defined(const Value& value);

}  // namespace thinkey::jinja
