#include "model/chunk_products.h"

#include <algorithm>
#include <cassert>

#include "base/parallel.h"
#include "ops/activation.h"
#include "ops/convert.h"
#include "ops/dequantize.h"
#include "ops/matvec.h"

namespace thinkey {

ReadyMatrix ChunkProducts::ready(const MatrixView& matrix, std::size_t rows) {
  ReadyMatrix out{.view = matrix};
  if (rows <= kFewRows) return out;
  const bool widen_it = needs_widening(matrix, precision_, rows);
  const auto elements = static_cast<std::size_t>(matrix.rows * matrix.cols);
  if (precision_ == Precision::BF16) {
    if (widen_it) {
      assert(widened_ + elements <= state_.widened_bf16.size());
      widen(matrix, state_.widened_bf16.data() + widened_);
      out.bf16 = state_.widened_bf16.data() + widened_;
    } else {
      out.bf16 = reinterpret_cast<const bf16_bits*>(matrix.data);
    }
  } else if (widen_it) {
    assert(widened_ + elements <= state_.widened_f32.size());
    widen(matrix, state_.widened_f32.data() + widened_);
    out.f32 = state_.widened_f32.data() + widened_;
  } else {
    out.f32 = reinterpret_cast<const float*>(matrix.data);
  }
  if (widen_it) widened_ += elements;
  return out;
}

void ChunkProducts::set_input(const float* x, std::size_t rows, std::size_t width) {
  input_ = x;
  rows_ = rows;
  width_ = width;
  converted_ = false;
}

void ChunkProducts::dense(const ReadyMatrix& matrix, float* y, std::size_t stride, bool accumulate) {
  const auto width = static_cast<std::int64_t>(width_);
  const MatmulShape shape{.m = static_cast<std::int64_t>(rows_),
                          .n = matrix.view.rows,
                          .k = width,
                          .lda = width,
                          .ldb = width,
                          .ldc = static_cast<std::int64_t>(stride),
                          .b_transposed = true,
                          .accumulate = accumulate};
  if (matrix.f32 != nullptr) {
    matmul(shape, input_, matrix.f32, y);
    return;
  }
  bf16_bits* half = state_.half_rows.data();
  if (!converted_) {
    parallel_for(rows_, [&](std::size_t r) { f32_to_bf16(input_ + r * width_, width_, half + r * width_); });
    converted_ = true;
  }
  matmul(shape, half, matrix.bf16, y);
}

void ChunkProducts::multiply(const ReadyMatrix& matrix, float* y, std::size_t stride) {
  if (matrix.f32 != nullptr || matrix.bf16 != nullptr) {
    dense(matrix, y, stride, false);
  } else {
    assert(stride == static_cast<std::size_t>(matrix.view.rows));
    matvec(matrix.view, input_, rows_, y);
  }
}

void ChunkProducts::multiply_add(const ReadyMatrix& matrix, float* y) {
  const auto columns = static_cast<std::size_t>(matrix.view.rows);
  if (matrix.f32 != nullptr || matrix.bf16 != nullptr) {
    dense(matrix, y, columns, true);
  } else {
    matvec(matrix.view, input_, rows_, state_.projected.data());
    add(state_.projected.data(), rows_ * columns, y);
  }
}

}  // namespace thinkey
