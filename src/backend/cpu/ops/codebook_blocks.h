// ggml's code book types, IQ1 to IQ3, as small whole numbers: w[i] = d * kUnit * scales[i / kSubColumns] *
// values[i]. Every product on the way is exact in f32, so that any order gives the reference's weights.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "base/half.h"
#include "base/tensor_type.h"

namespace thinkey {

struct CodebookGroup {  // a block of 256
  alignas(64) std::int8_t values[256];
  std::int8_t scales[16];  // 256 / kSubColumns of them
  f16_bits d;
};

template <TensorType kType>
struct Codebook;  // for other types: not defined

template <std::size_t kSubColumnsOf, int kUnitDivisor, int kLargestOf>
struct CodebookShape {
  static constexpr std::size_t kSubColumns = kSubColumnsOf;  // that share a scale
  static constexpr float kUnit = 1.0F / kUnitDivisor;
  static constexpr int kLargest = kLargestOf;  // of the values
};
template <>
struct Codebook<TensorType::IQ2_XXS> : CodebookShape<32, 8, 43> {};
template <>
struct Codebook<TensorType::IQ2_XS> : CodebookShape<16, 8, 43> {};
template <>
struct Codebook<TensorType::IQ2_S> : CodebookShape<16, 8, 43> {};
template <>
struct Codebook<TensorType::IQ3_XXS> : CodebookShape<32, 4, 62> {};
template <>
struct Codebook<TensorType::IQ3_S> : CodebookShape<32, 1, 15> {};
template <>
struct Codebook<TensorType::IQ1_S> : CodebookShape<32, 8, 9> {};
template <>
struct Codebook<TensorType::IQ1_M> : CodebookShape<16, 8, 9> {};

[[nodiscard]] constexpr bool is_codebook(TensorType type) noexcept { return type >= TensorType::IQ2_XXS; }

template <TensorType kType>
void unpack_codebook(const std::uint8_t* block, CodebookGroup& out) noexcept;

// The values that codes of IQ4_NL and IQ4_XS, and of MXFP4 (twice the value), stand for.
inline constexpr std::array<std::int8_t, 16> kIq4Values{-127, -104, -83, -65, -49, -35, -22, -10,
                                                        1,    13,   25,  38,  53,  69,  89,  113};
inline constexpr std::array<std::int8_t, 16> kMxfp4Values{0, 1,  2,  3,  4,  6,  8,  12,
                                                          0, -1, -2, -3, -4, -6, -8, -12};

// The eight scales of an IQ4_XS block: a word with their upper pairs of bits, then nibbles; less 32.
[[nodiscard]] inline std::array<std::int8_t, 8> unpack_iq4_scales(const std::uint8_t* block) noexcept {
  const unsigned upper = block[2] | (unsigned{block[3]} << 8U);
  std::array<std::int8_t, 8> scales{};
  for (std::size_t s = 0; s < 8; ++s) {
    const unsigned low = (unsigned{block[4 + s / 2]} >> (4 * (s % 2))) & 15U;
    scales[s] = static_cast<std::int8_t>(static_cast<int>(low | (((upper >> (2 * s)) & 3U) << 4U)) - 32);
  }
  return scales;
}

// Half the scale that the exponent byte of an MXFP4 block stands for: 2^(exponent - 128).
[[nodiscard]] constexpr std::uint32_t mxfp4_scale_bits(std::uint8_t exponent) noexcept {
  return exponent < 2 ? 0x00200000U << exponent : (exponent - 1U) << 23U;
}

}  // namespace thinkey
