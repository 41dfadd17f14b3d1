// Python's operators on values. All throw Fault where Python raises.
#pragma once

#include <optional>
#include <string_view>

#include "jinja/ast.h"
#include "jinja/value.h"

namespace thinkey::jinja {

[[nodiscard]] bool equal(const Value& a, const Value& b, Budget& budget);
// Negative, zero or positive; Fault for types that Python does not order. NaN is above everything.
[[nodiscard]] bool less(const Value& a, const Value& b, Budget& budget, std::string_view sign = "<");
[[nodiscard]] bool contains(const Value& container, const Value& item, Budget& budget);
[[nodiscard]] bool compare(Operation operation, const Value& a, const Value& b, Budget& budget);

[[nodiscard]] Value binary(Operation operation, const Value& a, const Value& b, Budget& budget);
[[nodiscard]] Value unary(Operation operation, const Value& value);

// value[start:stop:step], each part None or an integer. nullopt: the value has no slices.
[[nodiscard]] std::optional<Value> slice(const Value& value, const Value& start, const Value& stop,
                                         const Value& step, Budget& budget);

// Where `needle` begins in `text`, from byte `from` on; npos: nowhere. Takes linear time.
[[nodiscard]] std::size_t find_text(std::string_view text, std::string_view needle, std::size_t from,
                                    Budget& budget);

// What joins text to Markup is escaped first.
[[nodiscard]] std::string as_markup(const Value& text);

}  // namespace thinkey::jinja
