// What a function is called with.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "jinja/value.h"

namespace thinkey::jinja {

struct Arguments {
  Values positional;
  std::vector<std::pair<std::string, Value>> named;

  [[nodiscard]] bool empty() const noexcept { return positional.empty() && named.empty(); }
};

// Arguments by parameter. Fault, in Python's words, for too many, unknown, doubled or missing ones.
class Bound {
 public:
  Bound(std::string_view function, Arguments arguments, std::initializer_list<std::string_view> names,
        std::size_t required = 0);

  [[nodiscard]] bool has(std::size_t index) const noexcept { return values_[index].has_value(); }
  // nullptr when it was not given.
  [[nodiscard]] const Value* find(std::size_t index) const noexcept {
    return values_[index] ? &*values_[index] : nullptr;
  }
  [[nodiscard]] const Value& at(std::size_t index) const { return *values_[index]; }
  [[nodiscard]] std::int64_t integer(std::size_t index, std::int64_t otherwise) const;
  [[nodiscard]] bool flag(std::size_t index, bool otherwise = false) const;
  // nullopt when absent or None; Fault when it is something else than text.
  [[nodiscard]] std::optional<std::string> text(std::size_t index) const;

 private:
  std::string function_;
  std::vector<std::optional<Value>> values_;
};

}  // namespace thinkey::jinja
