#pragma once

#include <string_view>

#include "jinja/interpreter.h"

namespace thinkey::jinja {

using Filter = Value (*)(Interpreter& run, const Value& input, Arguments arguments);

// nullptr: there is none of that name.
[[nodiscard]] Filter find_filter(std::string_view name);

// What attribute="a.b" of a filter means: item by item, numbers as indices.
class AttributeGetter {
 public:
  AttributeGetter(const Value* attribute, const Value* otherwise = nullptr, bool lower_case = false);
  [[nodiscard]] Value operator()(Interpreter& run, Value value) const;

 private:
  Values path_;
  Value otherwise_;
  bool has_otherwise_ = false;
  bool lower_case_;
};

// filters_sequence.cpp, filters_text.cpp and filters_number.cpp
[[nodiscard]] Filter find_sequence_filter(std::string_view name);
[[nodiscard]] Filter find_text_filter(std::string_view name);
[[nodiscard]] Filter find_number_filter(std::string_view name);

}  // namespace thinkey::jinja
