// 16-bit floats as bits, with scalar conversions (round to nearest even). Rows are converted by ops.
#pragma once

#include <bit>
#include <cstdint>

namespace thinkey {

// Two types, so that neither passes for the other.
struct f16_bits {  // IEEE binary16
  std::uint16_t bits;
  bool operator==(const f16_bits&) const = default;
};
struct bf16_bits {  // upper half of binary32
  std::uint16_t bits;
  bool operator==(const bf16_bits&) const = default;
};

// Arrays of them as the integers that vector instructions load and store. (&x->bits would be a pointer into
// one.)
[[nodiscard]] inline std::uint16_t* integers(f16_bits* x) noexcept {
  return reinterpret_cast<std::uint16_t*>(x);
}
[[nodiscard]] inline std::uint16_t* integers(bf16_bits* x) noexcept {
  return reinterpret_cast<std::uint16_t*>(x);
}
[[nodiscard]] inline const std::uint16_t* integers(const f16_bits* x) noexcept {
  return reinterpret_cast<const std::uint16_t*>(x);
}
[[nodiscard]] inline const std::uint16_t* integers(const bf16_bits* x) noexcept {
  return reinterpret_cast<const std::uint16_t*>(x);
}

[[nodiscard]] constexpr float f32_from_bf16(bf16_bits b) noexcept {
  return std::bit_cast<float>(static_cast<std::uint32_t>(b.bits) << 16U);
}

[[nodiscard]] constexpr bf16_bits bf16_from_f32(float x) noexcept {
  const auto u = std::bit_cast<std::uint32_t>(x);
  if ((u & 0x7FFFFFFFU) > 0x7F800000U) return {static_cast<std::uint16_t>((u >> 16U) | 0x40U)};  // quiet NaN
  return {static_cast<std::uint16_t>((u + 0x7FFFU + ((u >> 16U) & 1U)) >> 16U)};
}

[[nodiscard]] constexpr float f32_from_f16(f16_bits h) noexcept {
  const std::uint32_t sign = (h.bits & 0x8000U) << 16U;
  const std::uint32_t exponent = (static_cast<std::uint32_t>(h.bits) >> 10U) & 0x1FU;
  const std::uint32_t mantissa = h.bits & 0x3FFU;
  if (exponent == 0x1FU) return std::bit_cast<float>(sign | 0x7F800000U | (mantissa << 13U));
  if (exponent == 0) {  // zero and subnormals: mantissa * 2^-24, exact in f32
    const float magnitude = static_cast<float>(mantissa) * 0x1p-24F;
    return std::bit_cast<float>(sign | std::bit_cast<std::uint32_t>(magnitude));
  }
  return std::bit_cast<float>(sign | ((exponent + 112U) << 23U) | (mantissa << 13U));
}

[[nodiscard]] constexpr f16_bits f16_from_f32(float x) noexcept {
  const auto u = std::bit_cast<std::uint32_t>(x);
  const auto sign = static_cast<std::uint16_t>((u >> 16U) & 0x8000U);
  const std::uint32_t magnitude = u & 0x7FFFFFFFU;
  if (magnitude >= 0x7F800000U) {  // infinity, NaN
    return {static_cast<std::uint16_t>(sign | 0x7C00U | (magnitude > 0x7F800000U ? 0x200U : 0U))};
  }
  if (magnitude >= 0x477FF000U) return {static_cast<std::uint16_t>(sign | 0x7C00U)};  // rounds past 65504
  if (magnitude < 0x38800000U) {  // subnormal: adding 0.5 rounds at bit 2^-24
    const float rounded = std::bit_cast<float>(magnitude) + 0.5F;
    return {static_cast<std::uint16_t>(sign | (std::bit_cast<std::uint32_t>(rounded) - 0x3F000000U))};
  }
  const std::uint32_t rounded = magnitude + 0xFFFU + ((magnitude >> 13U) & 1U) - (112U << 23U);
  return {static_cast<std::uint16_t>(sign | (rounded >> 13U))};
}

}  // namespace thinkey
