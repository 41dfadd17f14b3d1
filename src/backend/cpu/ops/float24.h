// Rows of 24-bit floats: f32 without its 8 lowest bits, rounded to nearest even. They lie in two planes, the
// upper 16 bits (sign, exponent, 7 bits of the mantissa) and the lower 8 (the rest of it), so that both load
// as whole vectors. Highway, run-time dispatch.
#pragma once

#include <cstddef>
#include <cstdint>

namespace thinkey {

// NaN stays NaN, and what rounds past the largest number becomes infinite.
void f32_to_f24(const float* from, std::size_t n, std::uint16_t* upper, std::uint8_t* lower);
void f24_to_f32(const std::uint16_t* upper, const std::uint8_t* lower, std::size_t n, float* to);

// upper|lower += x: added in f32, rounded once.
void add_to_f24(const float* x, std::size_t n, std::uint16_t* upper, std::uint8_t* lower);

}  // namespace thinkey
