// JSON in and out.
#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "jinja/repr.h"
#include "jinja/unicode.h"

namespace thinkey::jinja {

namespace {

class JsonWriter {
 public:
  JsonWriter(const JsonStyle& style, Budget& budget) : style_(style), budget_(budget) {}

  void write(const Value& value, std::size_t level) {
    budget_.step();
    switch (value.kind()) {
      case Kind::None:
        out_ += "null";
        return;
      case Kind::Boolean:
        out_ += value.boolean() ? "true" : "false";
        return;
      case Kind::Integer:
        out_ += std::to_string(value.integer());
        return;
      case Kind::Float:
        out_ += number(value.number());
        return;
      case Kind::String:
        write_text(value.string());
        return;
      case Kind::List:
      case Kind::Tuple:
        write_list(value.items(), level);
        return;
      case Kind::Dict:
        write_dict(value.dict(), level);
        return;
      default:
        fault("Object of type {} is not JSON serializable", type_name(value));
    }
  }

  std::string take() { return std::move(out_); }

 private:
  static std::string number(double value) {
    if (std::isnan(value)) return "NaN";
    if (std::isinf(value)) return value < 0 ? "-Infinity" : "Infinity";
    return float_repr(value);
  }

  void write_text(const std::string& text) {
    budget_.make(text.size() + 2);
    out_ += '"';
    for (std::size_t at = 0; at < text.size();) {
      const std::size_t bytes = character_bytes(text, at);
      const char32_t c = character_at(text, at);
      switch (c) {
        case '"':
          out_ += "\\\"";
          break;
        case '\\':
          out_ += "\\\\";
          break;
        case '\n':
          out_ += "\\n";
          break;
        case '\r':
          out_ += "\\r";
          break;
        case '\t':
          out_ += "\\t";
          break;
        case '\f':
          out_ += "\\f";
          break;
        case '\b':
          out_ += "\\b";
          break;
        default:
          if (c < 0x20 || (style_.ensure_ascii && c >= 0x7F)) {
            write_escaped(c);
          } else {
            out_.append(text, at, bytes);
          }
      }
      at += bytes;
    }
    out_ += '"';
  }

  void write_escaped(char32_t c) {
    budget_.make(12);
    const auto code = static_cast<std::uint32_t>(c);
    if (c == 0x7F) {
      out_ += '\x7F';  // ASCII
    } else if (c < 0x10000) {
      out_ += fmt::format("\\u{:04x}", code);
    } else {
      out_ += fmt::format("\\u{:04x}\\u{:04x}", 0xD800U + ((code - 0x10000U) >> 10U),
                          0xDC00U + ((code - 0x10000U) & 0x3FFU));
    }
  }

  void new_line(std::size_t level) {
    if (!style_.indent) return;
    budget_.make(1 + level * style_.indent->size());
    out_ += '\n';
    for (std::size_t i = 0; i < level; ++i) out_ += *style_.indent;
  }

  void write_list(const Values& items, std::size_t level) {
    if (items.empty()) {
      out_ += "[]";
      return;
    }
    budget_.make(2 + items.size() * style_.item_separator.size());
    out_ += '[';
    for (std::size_t i = 0; i < items.size(); ++i) {
      if (i > 0) out_ += style_.item_separator;
      new_line(level + 1);
      write(items[i], level + 1);
    }
    new_line(level);
    out_ += ']';
  }

  static std::string key_text(const Value& key) {
    switch (key.kind()) {
      case Kind::String:
        return key.string();
      case Kind::Boolean:
        return key.boolean() ? "true" : "false";
      case Kind::Integer:
        return std::to_string(key.integer());
      case Kind::Float:
        return number(key.number());
      case Kind::None:
        return "null";
      default:
        fault("keys must be str, int, float, bool or None, not {}", type_name(key));
    }
  }

  void write_dict(const Dict& dict, std::size_t level) {
    if (dict.size() == 0) {
      out_ += "{}";
      return;
    }
    budget_.make(2 + dict.size() * (style_.item_separator.size() + style_.key_separator.size()));
    std::vector<const Dict::Entry*> entries;
    for (const Dict::Entry& entry : dict.entries()) entries.push_back(&entry);
    if (style_.sort_keys) {
      for (const Dict::Entry* entry : entries) {
        if (!entry->first.is_string()) fault("sort_keys: only text keys can be sorted");
      }
      std::stable_sort(entries.begin(), entries.end(), [](const Dict::Entry* a, const Dict::Entry* b) {
        return a->first.string() < b->first.string();
      });
    }
    out_ += '{';
    for (std::size_t i = 0; i < entries.size(); ++i) {
      if (i > 0) out_ += style_.item_separator;
      new_line(level + 1);
      write_text(key_text(entries[i]->first));
      out_ += style_.key_separator;
      write(entries[i]->second, level + 1);
    }
    new_line(level);
    out_ += '}';
  }

  const JsonStyle& style_;
  Budget& budget_;
  std::string out_;
};

// Builds values as the parser meets them; the parser itself does not recurse.
class JsonReader {
 public:
  using Base = nlohmann::json;

  bool null() { return add(Value::none()); }
  bool boolean(bool value) { return add(Value(value)); }
  bool number_integer(Base::number_integer_t value) { return add(Value(std::int64_t{value})); }
  bool number_unsigned(Base::number_unsigned_t value) {
    if (value > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) too_large();
    return add(Value(static_cast<std::int64_t>(value)));
  }
  bool number_float(Base::number_float_t value, const std::string& text) {
    // An integer beyond 64 bits arrives here.
    if (text.find_first_of(".eE") == std::string::npos) too_large();
    return add(Value(value));
  }
  bool string(std::string& value) { return add(Value(std::move(value))); }
  bool binary(Base::binary_t& /*value*/) { return false; }
  bool start_object(std::size_t /*count*/) { return open(true); }
  bool key(std::string& value) {
    open_.back().key = std::move(value);
    return true;
  }
  bool end_object() { return close(); }
  bool start_array(std::size_t /*count*/) { return open(false); }
  bool end_array() { return close(); }
  [[noreturn]] static bool parse_error(std::size_t position, const std::string& /*token*/,
                                       const Base::exception& error) {
    if (error.id == 406) fault("the JSON holds a number that is out of range");
    fault("the JSON is not valid near its byte {}", position);
  }

  Value take() { return std::move(result_); }

 private:
  struct Open {
    bool is_dict = false;
    std::string key;
    Values items;
    std::shared_ptr<Dict> dict;
  };

  [[noreturn]] static void too_large() { fault("the JSON holds an integer beyond 64 bits"); }

  bool open(bool is_dict) {
    if (open_.size() + 1 >= static_cast<std::size_t>(kMostValueDepth)) {
      fault("the JSON is nested deeper than {} levels", kMostValueDepth - 1);
    }
    open_.push_back({is_dict, {}, {}, is_dict ? std::make_shared<Dict>() : nullptr});
    return true;
  }

  bool close() {
    Open done = std::move(open_.back());
    open_.pop_back();
    return add(done.is_dict ? Value(std::shared_ptr<const Dict>(std::move(done.dict)))
                            : Value::list(std::move(done.items)));
  }

  bool add(Value value) {
    if (open_.empty()) {
      result_ = std::move(value);
    } else if (open_.back().is_dict) {
      open_.back().dict->set(open_.back().key, std::move(value));
    } else {
      open_.back().items.push_back(std::move(value));
    }
    return true;
  }

  std::vector<Open> open_;
  Value result_;
};

}  // namespace

std::string to_json(const Value& value, const JsonStyle& style, Budget& budget) {
  JsonWriter writer(style, budget);
  writer.write(value, 0);
  return writer.take();
}

Value from_json(std::string_view text) {
  JsonReader reader;
  nlohmann::json::sax_parse(text, &reader);
  return reader.take();
}

}  // namespace thinkey::jinja
