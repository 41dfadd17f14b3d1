// Values in cache specs: read, refused with the word that is wrong, and printed.
#pragma once

#include <charconv>
#include <cmath>
#include <cstdint>
#include <optional>
#include <string_view>

#include "base/fail.h"
#include "base/format_text.h"

namespace thinkey {

inline constexpr std::size_t kMostTokens = std::size_t{1} << 30;  // positions are 32-bit

template <typename Number>
[[nodiscard]] std::optional<Number> spec_number(std::string_view text) {
  Number value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

[[nodiscard]] inline std::size_t integer(std::string_view spec, std::string_view option,
                                         std::string_view value) {
  if (const auto n = spec_number<std::size_t>(value)) return *n;
  fail_usage("cache spec '{}': {} takes a whole number, not '{}'", spec, option, value);
}

[[nodiscard]] inline double ratio(std::string_view spec, std::string_view option, std::string_view value) {
  const auto x = spec_number<double>(value);
  if (x && std::isfinite(*x)) return *x;
  fail_usage("cache spec '{}': {} takes a ratio such as 0.4, not '{}'", spec, option, value);
}

// At least 1 byte.
[[nodiscard]] inline std::size_t byte_count(std::string_view spec, std::string_view option,
                                            std::string_view value) {
  const std::optional<std::size_t> bytes = parse_bytes(value);
  if (bytes.value_or(0) > 0) return *bytes;
  fail_usage("cache spec '{}': {} takes bytes such as 512MiB or a share such as 25%, not '{}'", spec, option,
             value);
}

inline void within(std::string_view what, std::size_t value, std::size_t least, std::size_t most) {
  if (value < least || value > most) {
    fail_usage("cache spec: {} is {}, must be {} to {}", what, value, least, most);
  }
}

}  // namespace thinkey
