// Rows of any file type widened to f32 or bf16. Formats as ggml defines them.
#pragma once

#include "base/half.h"
#include "base/matrix_view.h"

namespace thinkey {

// One row of n elements (n a multiple of the type's block length).
void widen_row(TensorType type, const std::byte* row, std::size_t n, float* out);
void widen_row(TensorType type, const std::byte* row, std::size_t n, bf16_bits* out);

// All rows, in parallel: out is [rows, cols].
void widen(const MatrixView& matrix, float* out);
void widen(const MatrixView& matrix, bf16_bits* out);

// Columns [first, first + count) of all rows, in parallel: out is [rows, count]. Both numbers are
// multiples of the type's block length.
void widen_columns(const MatrixView& matrix, std::size_t first, std::size_t count, float* out);
void widen_columns(const MatrixView& matrix, std::size_t first, std::size_t count, bf16_bits* out);

}  // namespace thinkey
