// The matrix products of prefill. Weights are brought into the products' type once for many chunks of
// tokens; a product of few rows reads the file's type directly.
#pragma once

#include <cstddef>

#include "model/run_state.h"
#include "ops/matvec.h"

namespace thinkey {

// Weights ready to multiply rows of activations: a matrix, or a run of its columns. Both pointers null:
// straight from the file.
struct ReadyMatrix {
  MatrixView view;                  // [out, in] as in the file; in = the run's columns
  const float* f32 = nullptr;       // [out, in], products in f32
  const bf16_bits* bf16 = nullptr;  // [out, in], products in bf16
  std::size_t stride = 0;           // elements between rows of either
};

class ChunkProducts {
 public:
  // activations: of products straight from the file's types.
  ChunkProducts(Precision precision, ActivationPrecision activations)
      : precision_(precision), activations_(activations) {}

  // From now on weights are widened into, and rows converted in, this scratch.
  void start_phase(const ProductScratch& scratch) noexcept {
    scratch_ = scratch;
    widened_ = 0;
  }

  // In place where the file holds the products' type, widened into the phase's scratch otherwise;
  // left as it is when the phase multiplies at most kFewRows `rows` by it. Valid until start_phase().
  [[nodiscard]] ReadyMatrix ready(const MatrixView& matrix, std::size_t rows) {
    return ready_columns(matrix, 0, static_cast<std::size_t>(matrix.cols), rows);
  }
  // Columns [first, first + count), whole blocks of the type; all of them when `rows` are few.
  [[nodiscard]] ReadyMatrix ready_columns(const MatrixView& matrix, std::size_t first, std::size_t count,
                                          std::size_t rows);

  // The rows that multiply() takes from now on: x [rows, width]; f32 ones are converted once for all
  // products.
  void set_input(const float* x, std::size_t rows, std::size_t width);
  void set_input(const bf16_bits* x, std::size_t rows, std::size_t width);

  // y[r, o] = sum_i x[r, i] * W[o, i]; y has `stride` elements between rows.
  void multiply(const ReadyMatrix& matrix, float* y, std::size_t stride);
  // y += x * W^T, y dense with d columns.
  void multiply_add(const ReadyMatrix& matrix, float* y);

 private:
  void dense(const ReadyMatrix& matrix, float* y, std::size_t stride, bool accumulate);

  Precision precision_;
  ActivationPrecision activations_;
  ProductScratch scratch_;
  std::size_t widened_ = 0;  // elements of the scratch in use
  const float* input_ = nullptr;
  const bf16_bits* half_input_ = nullptr;  // null until input_ has been converted
  std::size_t rows_ = 0;
  std::size_t width_ = 0;
};

}  // namespace thinkey
