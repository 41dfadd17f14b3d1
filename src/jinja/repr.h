// Values as text: Python's str() and repr(), and JSON as json.dumps writes it.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "jinja/value.h"

namespace thinkey::jinja {

[[nodiscard]] std::string float_repr(double number);
[[nodiscard]] std::string repr(const Value& value, Budget& budget);
[[nodiscard]] std::string str(const Value& value, Budget& budget);
void append_string_repr(std::string& out, std::string_view text);

struct JsonStyle {
  bool ensure_ascii = false;
  std::optional<std::string> indent = {};
  std::string item_separator = ", ";
  std::string key_separator = ": ";
  bool sort_keys = false;
};
// Throws Fault for a value that is not JSON.
[[nodiscard]] std::string to_json(const Value& value, const JsonStyle& style, Budget& budget);

// JSON text as values; integers keep 64 bits. Throws Fault: malformed, nested too deeply, an integer too
// large.
[[nodiscard]] Value from_json(std::string_view text);

[[nodiscard]] std::string escape_html(std::string_view text);

}  // namespace thinkey::jinja
