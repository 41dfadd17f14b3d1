// "..." % values and "...".format(values).
#pragma once

#include "jinja/interpreter.h"

namespace thinkey::jinja {

[[nodiscard]] Value percent_format(const Value& format, const Value& values, Budget& budget);
[[nodiscard]] Value brace_format(Interpreter& run, const Value& format, const Arguments& arguments);

}  // namespace thinkey::jinja
