#include "model/chunk_products.h"

#include <cassert>

#include "base/parallel.h"
#include "ops/activation.h"
#include "ops/convert.h"
#include "ops/dequantize.h"
#include "ops/matvec.h"

namespace thinkey {

ReadyMatrix ChunkProducts::ready_columns(const MatrixView& matrix, std::size_t first, std::size_t count,
                                         std::size_t rows) {
  ReadyMatrix out{.view = matrix};
  if (rows <= kFewRows) return out;
  out.view.cols = static_cast<std::int64_t>(count);
  const bool bf16 = precision_ == Precision::BF16;
  if (!needs_widening(matrix, precision_, rows)) {
    out.stride = static_cast<std::size_t>(matrix.cols);
    if (bf16) {
      out.bf16 = reinterpret_cast<const bf16_bits*>(matrix.data) + first;
    } else {
      out.f32 = reinterpret_cast<const float*>(matrix.data) + first;
    }
    return out;
  }
  out.stride = count;
  assert(widened_ + static_cast<std::size_t>(matrix.rows) * count <= scratch_.widened_size);
  if (bf16) {
    widen_columns(matrix, first, count, scratch_.widened_bf16 + widened_);
    out.bf16 = scratch_.widened_bf16 + widened_;
  } else {
    widen_columns(matrix, first, count, scratch_.widened_f32 + widened_);
    out.f32 = scratch_.widened_f32 + widened_;
  }
  widened_ += static_cast<std::size_t>(matrix.rows) * count;
  return out;
}

void ChunkProducts::set_input(const float* x, std::size_t rows, std::size_t width) {
  input_ = x;
  half_input_ = nullptr;
  rows_ = rows;
  width_ = width;
}

void ChunkProducts::set_input(const bf16_bits* x, std::size_t rows, std::size_t width) {
  input_ = nullptr;
  half_input_ = x;
  rows_ = rows;
  width_ = width;
}

void ChunkProducts::dense(const ReadyMatrix& matrix, float* y, std::size_t stride, bool accumulate) {
  const auto width = static_cast<std::int64_t>(width_);
  const MatmulShape shape{.m = static_cast<std::int64_t>(rows_),
                          .n = matrix.view.rows,
                          .k = width,
                          .lda = width,
                          .ldb = static_cast<std::int64_t>(matrix.stride),
                          .ldc = static_cast<std::int64_t>(stride),
                          .b_transposed = true,
                          .accumulate = accumulate};
  if (matrix.f32 != nullptr) {
    matmul(shape, input_, matrix.f32, y);
    return;
  }
  if (half_input_ == nullptr) {
    bf16_bits* half = scratch_.half_rows;
    parallel_for(rows_, [&](std::size_t r) { f32_to_bf16(input_ + r * width_, width_, half + r * width_); });
    half_input_ = half;
  }
  matmul(shape, half_input_, matrix.bf16, y);
}

void ChunkProducts::multiply(const ReadyMatrix& matrix, float* y, std::size_t stride) {
  if (matrix.f32 != nullptr || matrix.bf16 != nullptr) {
    dense(matrix, y, stride, false);
  } else {
    assert(stride == static_cast<std::size_t>(matrix.view.rows));
    matvec(matrix.view, input_, rows_, y, activations_);
  }
}

void ChunkProducts::multiply_add(const ReadyMatrix& matrix, float* y) {
  const auto columns = static_cast<std::size_t>(matrix.view.rows);
  if (matrix.f32 != nullptr || matrix.bf16 != nullptr) {
    dense(matrix, y, columns, true);
  } else {
    matvec(matrix.view, input_, rows_, scratch_.projected, activations_);
    add(scratch_.projected, rows_ * columns, y);
  }
}

}  // namespace thinkey
