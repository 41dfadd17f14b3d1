// A range of one matrix's rows: the unit of work of matvec, and what its kernels are given.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/tensor_type.h"

namespace thinkey {

struct MatvecRows {
  TensorType type;
  const std::uint8_t* weights;  // first row of the range
  std::size_t row_bytes;
  std::size_t rows, cols;
  const float* x;  // [batch, cols]
  std::size_t batch;
  bool alone;            // VectorOrder::Alone
  float* y;              // [batch, y_stride], at the range's first row
  std::size_t y_stride;  // rows of the whole matrix
};

}  // namespace thinkey
