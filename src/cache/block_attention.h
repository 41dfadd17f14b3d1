// Attention of a few query rows over the blocks of a segment, with a running maximum and sum
// (flash-decoding): pieces computed apart are joined by merge().
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "cache/block.h"

namespace thinkey {

inline constexpr std::size_t kMaxRows = 16;  // query rows one call serves

// Unfinished softmax of up to kMaxRows rows over some keys.
struct PartialAttention {
  std::size_t rows = 0;
  std::size_t stride = 0;       // floats between two rows of `weighted`; >= value channels
  float maximum[kMaxRows];      // of the scaled logits so far; -inf: nothing seen
  float sum[kMaxRows];          // of exp(logit - maximum)
  std::vector<float> weighted;  // [rows][stride] sum of exp(logit - maximum) * value, by value_slot()

  // Empty, with room for `value_units` units of 32 channels per row.
  void reset(std::size_t rows, std::size_t value_units);
};

// Folds `count` blocks into `state`. Rows of q are packed by channel: q[c * rows + r], already scaled
// by 1/sqrt(D), c over the layout's key channels. bias[r] is added to every logit of row r; nullptr:
// nothing is. Tokens at positions below oldest[r] do not exist for row r (sliding window); nullptr: all do.
void attend_blocks(const BlockLayout& layout, const std::byte* const* blocks, std::size_t count,
                   const float* q, const float* bias, const std::int32_t* oldest, PartialAttention& state);

}  // namespace thinkey
