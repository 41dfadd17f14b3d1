// Blocks of levels against queries and weights on CPUs that multiply quads of bytes (AVX512_VNNI). Queries
// and weights are rounded to 8 bits for levels of up to 5 bits, and for more to 14 and 16, multiplied in two
// halves.
#pragma once

#include <cstddef>
#include <cstdint>

#include "backend/cpu/store/block.h"

namespace thinkey {

// Whether two halves are multiplied.
[[nodiscard]] constexpr bool levels_in_halves(ElementFormat format) noexcept {
  return format == ElementFormat::L8 || format == ElementFormat::L6;
}

// A run's queries as bytes: query = (rounded[0] * 128 + rounded[1]) * inverse in halves, rounded[0] * inverse
// otherwise. `share` is -128 times the sum of a row's queries, so rounded: levels are multiplied from 128 on.
struct LevelQueryBytes {
  const std::int32_t* rounded[2];  // [quads of channels][rows], four signed bytes each
  const float* inverse;            // [rows]
  const float* share;              // [rows]
};

// scores[r][0..31] = start[r] + q[r] . keys of a block. Rows: 1, 2 or 4.
void score_levels_vnni(std::size_t rows, const KeyRun& run, const std::byte* block,
                       const LevelQueryBytes& queries, const float* start, float* scores);

// out[r] = out[r] * factor[r] + weights[r] . values of a block, weights being [rows][32] and not negative.
void weigh_levels_vnni(std::size_t rows, const BlockLayout& layout, const std::byte* block,
                       const float* weights, const float* factor, std::size_t stride, float* out);

}  // namespace thinkey
