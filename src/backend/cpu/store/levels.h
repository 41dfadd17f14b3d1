// Rows as levels of a rotated row (TurboQuant, 2504.19874). After a Hadamard rotation a row's elements are
// nearly normal, whatever they were, so that one code book serves every row: the levels of least mean square
// error for a normal distribution (Lloyd 1957, Max 1960), in 1 to 5 bits; in 6 and 8 evenly spaced ones,
// which are nearly as good there. A row keeps one scale.
//
// The scale is not the one of least square error. That shrinks a row towards zero: dot products with it come
// out too small, by a third with one bit, in every token alike, while the errors themselves average out. For
// values it is the one that keeps <x, x'> = <x, x>, for keys one between the two, because there noise in
// logits already adds to a token's weight (docs/methods.md has the measurements).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "backend/key_plan.h"

namespace thinkey {

// The code book of a format of levels.
struct LevelBook {
  float spread = 0.0F;           // standard deviations that level 127 stands for
  std::int8_t levels[256] = {};  // by code, ascending
  // Of the nearest level to x, by floor(2 x) + 256: midpoints of levels are bounds of these cells. Were x
  // rounded first, those on midpoints would all go one way, an error that does not average out over tokens.
  std::uint8_t codes[512] = {};
};
[[nodiscard]] const LevelBook& level_book(ElementFormat format) noexcept;

// Where between the scale of least square error (0) and the one that keeps <x, x'> (1).
inline constexpr float kKeyFairness = 0.7F;
inline constexpr float kValueFairness = 1.0F;

// Codes of a row of numbers, and the scale: x' = scale * level. NaN or infinite where a number is.
[[nodiscard]] float encode_levels(const LevelBook& book, std::span<const float> x, float fairness,
                                  std::uint8_t* codes) noexcept;

// 32 scales as they are stored: 3 bits of exponent and 5 of mantissa each, under a common exponent. The
// largest keeps 6 significant bits, as do those down to its 128th part; what is smaller still becomes zero.
inline constexpr int kLevelMantissaBits = 5;
inline constexpr std::int8_t kNoExponent = -128;  // a scale was no number: none of the block's is
void store_level_scales(std::span<const float> scales, std::byte* to) noexcept;
[[nodiscard]] float load_level_scale(const std::byte* scales, std::size_t token) noexcept;
// What a scale's f32 bits are: base + (code << 18), where code is not 0.
[[nodiscard]] std::int32_t level_scale_base(std::int8_t exponent) noexcept;
// Whether scales under it are finite numbers that store_level_scales() may have written.
inline constexpr std::int8_t kMostLevelExponent = 126;
[[nodiscard]] bool is_sound_level_exponent(std::int8_t exponent) noexcept;

// x becomes R x, R being symmetric and orthogonal: Hadamard matrices along the diagonal, as large as they
// fit, of n = 80 channels 64 and 16. Rows of `width` numbers are turned together: x is [n][width].
void rotate(float* x, std::size_t n, std::size_t width = 1) noexcept;

}  // namespace thinkey
