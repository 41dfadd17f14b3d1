// What goes wrong inside a template. Caught where a template is parsed or rendered, and turned into an
// Error with the line it happened on.
#pragma once

#include <fmt/format.h>

#include <stdexcept>
#include <string>
#include <utility>

namespace thinkey::jinja {

class Fault : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

template <typename... Args>
[[noreturn]] void fault(fmt::format_string<Args...> format, Args&&... args) {
  throw Fault(fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace thinkey::jinja
