// A few query rows against a tile of keys and values, all in bf16 with f32 sums, for CPUs that multiply
// pairs of bf16 numbers (AVX512_BF16). Scores of six rows stay in the first-level cache between the two
// products, which a general matrix product cannot offer.
#pragma once

#include <cstddef>

#include "base/half.h"

namespace thinkey {

// False also where the CPU has AMX: a general product on its tiles is faster.
[[nodiscard]] bool cpu_multiplies_attention_rows() noexcept;

inline constexpr std::size_t kAttentionRows = 6;    // query rows treated together
inline constexpr std::size_t kAttentionKeys = 64;   // tiles are a multiple of so many keys wide
inline constexpr std::size_t kAttentionLanes = 16;  // channels of packed values are rounded up to these

[[nodiscard]] constexpr std::size_t packed_value_channels(std::size_t head_dim) noexcept {
  return (head_dim + kAttentionLanes - 1) / kAttentionLanes * kAttentionLanes;
}

// keys [width, D] -> [width / 64][D / 2][64][2]; D even.
void pack_attention_keys(const bf16_bits* keys, std::size_t width, std::size_t head_dim, bf16_bits* packed);
// values [width, D] -> [width / 2][D rounded up to 16][2], zeros beyond D.
void pack_attention_values(const bf16_bits* values, std::size_t width, std::size_t head_dim,
                           bf16_bits* packed);

// scores [6, stride] = q [6, D] times keys [begin, end) of the packed tile; both multiples of 64.
void score_attention_rows(const bf16_bits* q, const bf16_bits* packed_keys, std::size_t begin,
                          std::size_t end, std::size_t head_dim, std::size_t stride, float* scores);
// output [6, D] += weights [6, stride] times values [begin, end).
void weigh_attention_rows(const bf16_bits* weights, std::size_t stride, const bf16_bits* packed_values,
                          std::size_t begin, std::size_t end, std::size_t head_dim, float* output);

}  // namespace thinkey
