// Decode products: quantized weights read straight from the mapped file, each byte once per call.
#pragma once

#include <cstddef>

#include "ops/matrix_view.h"

namespace thinkey {

// y[b, row] = sum_c W[row, c] * x[b, c] for b in [0, batch), f32 accumulation.
// x is [batch, cols], y is [batch, rows], both f32 and dense. Rows are split over the threads.
void matvec(const MatrixView& weights, const float* x, std::size_t batch, float* y);

// Several matrices with the same input (Q, K and V; gate and up) in one fork-join. y[i] as above.
struct MatvecJob {
  MatrixView weights;
  float* y;
};
void matvec(const MatvecJob* jobs, std::size_t count, const float* x, std::size_t batch);

}  // namespace thinkey
