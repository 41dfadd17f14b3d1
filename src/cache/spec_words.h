// Values in cache specs: read, refused with the word that is wrong, and printed.
#pragma once

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <optional>
#include <string_view>

#include "base/fail.h"

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

// "512MiB", "4GiB", "1000000": at least 1 byte.
[[nodiscard]] inline std::size_t byte_count(std::string_view spec, std::string_view option,
                                            std::string_view value) {
  const std::size_t digits = std::min(value.find_first_not_of("0123456789"), value.size());
  const std::string_view unit = value.substr(digits);
  const int shift = unit == "KiB"                 ? 10
                    : unit == "MiB"               ? 20
                    : unit == "GiB"               ? 30
                    : unit.empty() || unit == "B" ? 0
                                                  : -1;
  const auto n = spec_number<std::size_t>(value.substr(0, digits));
  if (shift < 0 || !n || *n < 1 || *n > (std::size_t{1} << 50U) >> shift) {
    fail_usage("cache spec '{}': {} takes bytes such as 512MiB or a share such as 25%, not '{}'", spec,
               option, value);
  }
  return *n << shift;
}

inline void within(std::string_view what, std::size_t value, std::size_t least, std::size_t most) {
  if (value < least || value > most) {
    fail_usage("cache spec: {} is {}, must be {} to {}", what, value, least, most);
  }
}

}  // namespace thinkey
