// The matrix products of prefill. A layer's weights are brought into the products' type once per
// prompt and multiplied by every chunk; a product of few rows reads the file's type directly.
#pragma once

#include <cstddef>

#include "model/run_state.h"

namespace thinkey {

// A weight matrix ready to multiply rows of activations. Both pointers null: straight from the file.
struct ReadyMatrix {
  MatrixView view;                  // [out, in] as in the file
  const float* f32 = nullptr;       // [out, in], products in f32
  const bf16_bits* bf16 = nullptr;  // [out, in], products in bf16
};

class ChunkProducts {
 public:
  ChunkProducts(Precision precision, PrefillState& state) : precision_(precision), state_(state) {}

  // Gives the scratch of the previous phase's weights back.
  void start_phase() noexcept { widened_ = 0; }

  // In place where the file holds the products' type, widened into the state's scratch otherwise;
  // left as it is when the phase multiplies at most kFewRows `rows` by it. Valid until start_phase().
  [[nodiscard]] ReadyMatrix ready(const MatrixView& matrix, std::size_t rows);

  // The rows that multiply() takes from now on: x [rows, width], converted once for all products.
  void set_input(const float* x, std::size_t rows, std::size_t width);

  // y[r, o] = sum_i x[r, i] * W[o, i]; y has `stride` elements between rows.
  void multiply(const ReadyMatrix& matrix, float* y, std::size_t stride);
  // y += x * W^T, y dense with d columns.
  void multiply_add(const ReadyMatrix& matrix, float* y);

 private:
  void dense(const ReadyMatrix& matrix, float* y, std::size_t stride, bool accumulate);

  Precision precision_;
  PrefillState& state_;
  std::size_t widened_ = 0;  // elements of the scratch in use
  const float* input_ = nullptr;
  std::size_t rows_ = 0;
  std::size_t width_ = 0;
  bool converted_ = false;  // half_rows holds input_
};

}  // namespace thinkey
