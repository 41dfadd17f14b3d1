// Blocks of codes against queries and weights on CPUs that multiply quads of bytes (AVX512_VNNI). Queries and
// weights are rounded to 8 bits for codes of 4 and 2 bits, whose own rounding is several times coarser, and
// to 15 and 16 bits, multiplied in two halves, for codes of 8.
#pragma once

#include <cstddef>

#include "backend/cpu/store/block.h"

namespace thinkey {

[[nodiscard]] bool cpu_multiplies_quads() noexcept;

// scores[r][0..31] = start[r] + sum over the run's rows of q times elements; added to the scores unless
// `first`. q is [quads of channels][rows][4] with rows 1, 2 or 4, 0 for missing channels; up to 64 numbers
// past its end are read.
void score_quads_vnni(std::size_t rows, const KeyRun& run, const std::byte* block, const float* q,
                      const float* start, bool first, float* scores);

// out[r] = out[r] * factor[r] + weights[r] . a block's values, but for their minima, whose sums (those of a
// group's channels are all the same) are kept in `offsets` [groups][rows][16], lane by lane. weights is
// [rows][32]; `stride` numbers lie between rows of out.
void weigh_quads_vnni(std::size_t rows, const BlockLayout& layout, const std::byte* block,
                      const float* weights, const float* factor, float* offsets, std::size_t stride,
                      float* out);

}  // namespace thinkey
