// Decode products: quantized weights read straight from the mapped file, each byte once per call.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/matrix_view.h"

namespace thinkey {

enum class ActivationPrecision : std::uint8_t {
  F32,
  Int8,  // rounded to 8 bits, an f32 scale per 32, where the weights are quantized and the CPU has the
         // instructions (matvec_int8.h); else as F32
};

// In which order a vector's products are summed up in f32. Those of 8-bit activations do not depend on it.
enum class VectorOrder : std::uint8_t {
  Together,  // whatever is fastest for so many vectors
  Alone,     // as for a single one: the same bits
};

// y[b, row] = sum_c W[row, c] * x[b, c] for b in [0, batch), f32 accumulation.
// x is [batch, cols], y is [batch, rows], both f32 and dense. Rows are split over the threads.
void matvec(const MatrixView& weights, const float* x, std::size_t batch, float* y,
            ActivationPrecision precision = ActivationPrecision::F32,
            VectorOrder order = VectorOrder::Together);

// Several matrices with the same input (Q, K and V; gate and up) in one fork-join. y[i] as above.
struct MatvecJob {
  MatrixView weights;
  float* y;
};
void matvec(const MatvecJob* jobs, std::size_t count, const float* x, std::size_t batch,
            ActivationPrecision precision = ActivationPrecision::F32,
            VectorOrder order = VectorOrder::Together);

}  // namespace thinkey
