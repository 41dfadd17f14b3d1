#pragma once

#include <string_view>

#include "jinja/interpreter.h"

namespace thinkey::jinja {

using Test = bool (*)(Interpreter& run, const Value& input, Arguments arguments);

// nullptr: there is none of that name.
[[nodiscard]] Test find_test(std::string_view name);

}  // namespace thinkey::jinja
