// Rows of 8-, 4- and 2-bit codes multiplied as pairs of bf16 numbers (AVX512_BF16): twice the products per
// instruction of f32. Codes counted from their centre are exact in bf16; what they are multiplied with is
// rounded to bf16, a relative error of 2^-9, below that of the codes themselves.
#pragma once

#include <cstddef>

#include "cache/block.h"

namespace thinkey {

[[nodiscard]] bool cpu_multiplies_bf16_pairs() noexcept;

// What the kernels below count codes from: about the middle of their range.
[[nodiscard]] constexpr float code_centre(ElementFormat format) noexcept {
  return format == ElementFormat::Q8 ? 128.0F : static_cast<float>((1U << element_bits(format)) - 1U) / 2.0F;
}

struct PairKernel {
  ElementFormat format;  // not I16
  std::size_t rows;      // query rows: 1 to 4
};

// scores[r][0..31] = start[r] + sum over `count` stored key rows, `row_bytes` apart, of q times elements,
// codes less their centre; added to the scores unless `first`.
// q is [pairs of channels][rows][2], 0 for a missing partner; up to 16 numbers past its end are read.
void score_pairs_bf16(const PairKernel& kernel, const std::byte* keys, std::size_t row_bytes,
                      std::size_t count, const float* q, const float* start, bool first, float* scores);

// out[r][0..31] = out[r] * factor[r] + sum over `count` stored value rows of weights times
// elements, codes less their centre. weights is [rows][32]; `stride` numbers lie between rows of out.
void weigh_pairs_bf16(const PairKernel& kernel, const std::byte* values, std::size_t row_bytes,
                      std::size_t count, const float* weights, const float* factor, std::size_t stride,
                      float* out);

}  // namespace thinkey
