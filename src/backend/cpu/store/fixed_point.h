// 16-bit fixed point with a power of two for a row: x = mantissa * 2^exponent, |mantissa| < 2^15. The largest
// number of a row keeps 14 to 15 bits, all others the same absolute precision, which is what counts in a dot
// product. Unlike f16 such rows are multiplied as they are, in pairs, by an instruction that every CPU has.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>

namespace thinkey {

inline constexpr int kFixedBits = 15;
inline constexpr int kLeastExponent = -126, kMostExponent = 127 - kFixedBits;

// The larger of `largest` and |x|; what is not a number does not count.
[[nodiscard]] inline float larger_magnitude(float largest, float x) noexcept {
  const float magnitude = std::abs(x);
  return magnitude > largest ? magnitude : largest;
}

// The least exponent with which `largest` >= 0 fits; rows too small for an f32 scale become zeros.
[[nodiscard]] inline std::int8_t fixed_exponent(float largest) noexcept {
  const int biased =
      static_cast<int>(std::bit_cast<std::uint32_t>(largest) >> 23U);  // largest < 2^(biased - 126)
  return static_cast<std::int8_t>(std::clamp(biased - 126 - kFixedBits, kLeastExponent, kMostExponent));
}

// 2^exponent.
[[nodiscard]] inline float fixed_scale(std::int8_t exponent) noexcept {
  return std::bit_cast<float>(static_cast<std::uint32_t>(exponent + 127) << 23U);
}

// A number already divided by the scale, rounded; what is not a number becomes the least mantissa.
[[nodiscard]] inline std::int16_t to_fixed(float x) noexcept {
  constexpr float most = 32767.0F;
  constexpr float whole = 0x1.8p23F;  // adding it leaves no room for fractions: rounds to nearest even
  const float low = x > -most ? x : -most;
  return static_cast<std::int16_t>(static_cast<std::int32_t>((low < most ? low : most) + whole - whole));
}

}  // namespace thinkey
