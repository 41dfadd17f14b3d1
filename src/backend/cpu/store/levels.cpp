#include "backend/cpu/store/levels.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>

namespace thinkey {
namespace {

// The upper halves of the books of 1 to 5 bits, as parts of 127 of their last level
// (tests/cache/levels_test.cpp holds them against what defines them).
constexpr std::uint8_t kHalf1[] = {127};
constexpr std::uint8_t kHalf2[] = {38, 127};
constexpr std::uint8_t kHalf3[] = {14, 45, 79, 127};
constexpr std::uint8_t kHalf4[] = {6, 18, 31, 44, 58, 75, 96, 127};
constexpr std::uint8_t kHalf5[] = {3, 8, 13, 18, 24, 29, 35, 41, 47, 54, 61, 70, 79, 90, 105, 127};

void finish(LevelBook& book, std::size_t count) {
  for (int cell = -256; cell < 256; ++cell) {
    const int x = 2 * cell + 1;  // its middle, in quarters
    std::size_t best = 0;
    for (std::size_t code = 1; code < count; ++code) {
      if (std::abs(4 * book.levels[code] - x) < std::abs(4 * book.levels[best] - x)) best = code;
    }
    book.codes[cell + 256] = static_cast<std::uint8_t>(best);
  }
}

LevelBook normal_book(float spread, std::span<const std::uint8_t> half) {
  LevelBook book;
  book.spread = spread;
  const std::size_t n = half.size();
  for (std::size_t i = 0; i < n; ++i) {
    book.levels[n + i] = static_cast<std::int8_t>(half[i]);
    book.levels[n - 1 - i] = static_cast<std::int8_t>(-half[i]);
  }
  finish(book, 2 * n);
  return book;
}

LevelBook even_book(float spread, int first, int step) {
  LevelBook book;
  book.spread = spread;
  std::size_t count = 0;
  for (int level = first; level < 128; level += step) book.levels[count++] = static_cast<std::int8_t>(level);
  finish(book, count);
  return book;
}

}  // namespace

const LevelBook& level_book(ElementFormat format) noexcept {
  // In the order of ElementFormat, from L8 on.
  static const std::array<LevelBook, 7> books = {
      even_book(3.93F, -128, 1),      even_book(3.28F, -126, 4),      normal_book(3.260732F, kHalf5),
      normal_book(2.732590F, kHalf4), normal_book(2.151946F, kHalf3), normal_book(1.510418F, kHalf2),
      normal_book(0.797885F, kHalf1)};
  return books[static_cast<std::size_t>(format) - static_cast<std::size_t>(ElementFormat::L8)];
}

float encode_levels(const LevelBook& book, std::span<const float> x, float fairness,
                    std::uint8_t* codes) noexcept {
  const std::size_t n = x.size();
  float square = 0.0F;  // <x, x>
  for (const float number : x) square += number * number;
  std::fill_n(codes, n, std::uint8_t{0});
  if (!std::isfinite(square)) return std::numeric_limits<float>::quiet_NaN();
  const float unit = std::sqrt(square / static_cast<float>(n)) * book.spread / 127.0F;
  if (!(unit > std::numeric_limits<float>::min())) return 0.0F;
  const float inverse = 2.0F / unit;
  float product = 0.0F;     // <x, levels>
  std::int32_t levels = 0;  // <levels, levels>, at most 512 * 2^14
  for (std::size_t i = 0; i < n; ++i) {
    codes[i] = book.codes[static_cast<int>(std::clamp(x[i] * inverse, -256.0F, 255.0F) + 256.0F)];
    const int level = book.levels[codes[i]];
    product += x[i] * static_cast<float>(level);
    levels += level * level;
  }
  if (!(product > 0.0F)) return 0.0F;
  const auto length = static_cast<float>(levels);
  return product / length * std::pow(square * length / (product * product), fairness);
}

namespace {

constexpr int kScaleExponents = 8;  // binades that a block's scales span

}  // namespace

std::int32_t level_scale_base(std::int8_t exponent) noexcept {
  return (static_cast<std::int32_t>(exponent) - (kScaleExponents - 1) + 127) * (1 << 23);
}

bool is_sound_level_exponent(std::int8_t exponent) noexcept {
  return exponent >= kScaleExponents - 127 && exponent <= kMostLevelExponent;
}

void store_level_scales(std::span<const float> scales, std::byte* to) noexcept {
  constexpr int kDrop = 23 - kLevelMantissaBits;
  std::fill_n(to, kLevelScaleBytes, std::byte{0});
  auto* exponent = reinterpret_cast<std::int8_t*>(to + kBlockTokens);
  std::uint32_t most = 0;
  std::uint32_t rounded[kBlockTokens] = {};
  for (std::size_t t = 0; t < scales.size(); ++t) {
    if (!std::isfinite(scales[t])) {
      *exponent = kNoExponent;
      return;
    }
    // Of positive numbers the bits are in the order of the numbers, and round as integers do.
    rounded[t] = (std::bit_cast<std::uint32_t>(std::min(scales[t], 0x1p126F)) + (1U << (kDrop - 1))) >> kDrop;
    most = std::max(most, rounded[t]);
  }
  const int top = std::max(static_cast<int>(most >> kLevelMantissaBits) - 127, kScaleExponents - 127);
  *exponent = static_cast<std::int8_t>(top);
  const std::uint32_t base = static_cast<std::uint32_t>(level_scale_base(*exponent)) >> kDrop;
  for (std::size_t t = 0; t < scales.size(); ++t) {
    to[t] = static_cast<std::byte>(rounded[t] > base ? rounded[t] - base : 0);
  }
}

float load_level_scale(const std::byte* scales, std::size_t token) noexcept {
  const auto exponent = static_cast<std::int8_t>(scales[kBlockTokens]);
  if (exponent == kNoExponent) return std::numeric_limits<float>::quiet_NaN();
  const auto code = static_cast<std::int32_t>(scales[token]);
  return code == 0 ? 0.0F
                   : std::bit_cast<float>(level_scale_base(exponent) + (code << (23 - kLevelMantissaBits)));
}

void rotate(float* x, std::size_t n, std::size_t width) noexcept {
  while (n > 1) {
    const std::size_t size = std::bit_floor(n);
    for (std::size_t half = 1; half < size; half *= 2) {
      for (std::size_t i = 0; i < size; i += 2 * half) {
        for (std::size_t j = i; j < i + half; ++j) {
          float* a = x + j * width;
          float* b = a + half * width;
          for (std::size_t t = 0; t < width; ++t) {
            const float sum = a[t] + b[t];
            b[t] = a[t] - b[t];
            a[t] = sum;
          }
        }
      }
    }
    const float scale = 1.0F / std::sqrt(static_cast<float>(size));
    for (std::size_t i = 0; i < size * width; ++i) x[i] *= scale;
    x += size * width;
    n -= size;
  }
}

}  // namespace thinkey
