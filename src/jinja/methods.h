// Methods of Python's built-in types.
#pragma once

#include <string_view>

#include "jinja/interpreter.h"

namespace thinkey::jinja {

enum class MethodState : std::uint8_t {
  None,         // the type has no such attribute
  Here,         // call_method knows it
  Unsafe,       // it would change the value: the sandbox forbids it
  Unsupported,  // Python has it, we do not
};
[[nodiscard]] MethodState method_state(const Value& self, std::string_view name);

[[nodiscard]] Value call_method(Interpreter& run, const Value& self, std::string_view name,
                                Arguments arguments);
[[nodiscard]] Value call_string_method(Interpreter& run, const Value& self, std::string_view name,
                                       Arguments arguments);

// `most` < 0: all of them.
[[nodiscard]] Value replace_text(Interpreter& run, const Value& self, const std::string& old,
                                 const std::string& with, std::int64_t most);

}  // namespace thinkey::jinja
