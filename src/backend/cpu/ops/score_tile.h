// What prefill attention hands to its softmax kernel.
#pragma once

#include <cstddef>

#include "base/half.h"

namespace thinkey {

// Columns [begin, end) of a tile.
struct VisibleKeys {
  std::size_t begin, end;
};

// One tile of scores [rows, width] and the running state of its rows. Row r belongs to query
// (first_row + r) / group.
struct ScoreTile {
  std::size_t rows, width, group, head_dim;
  std::size_t stride;          // elements between rows of scores and of weights
  std::size_t first_row;       // of the rows that `visible` counts
  float softcap;               // in the unit of the scores; 0: none
  const VisibleKeys* visible;  // by query
  float* scores;               // [rows, stride]; the f32 kernel leaves the weights here
  bf16_bits* weights;          // [rows, stride]; written by the bf16 kernel
  float* max;                  // [rows] largest score so far, -inf at first
  float* sum;                  // [rows] sum of the weights so far, relative to max
  float* output;               // [rows, head_dim] weighted values so far, relative to max
};

}  // namespace thinkey
