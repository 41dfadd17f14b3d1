// A weight matrix as it lies in memory or in a mapped model file.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/tensor_type.h"

namespace thinkey {

// [rows, cols], row-major, rows contiguous; quantized rows are whole blocks. Linear layers are
// [out, in].
struct MatrixView {
  TensorType type = TensorType::F32;
  std::size_t rows = 0;
  std::size_t cols = 0;
  const std::byte* data = nullptr;
  const std::byte* packed = nullptr;  // the same weights as packed_matrix.h lays them out, or null
  const std::byte* int8 = nullptr;    // and as matmul_int8.h does, or null

  [[nodiscard]] std::size_t row_stride() const noexcept { return row_bytes(type, cols); }
  [[nodiscard]] std::size_t bytes() const noexcept { return rows * row_stride(); }
  // Rows [first, first + count); but for all of them, as in the file only.
  [[nodiscard]] MatrixView some_rows(std::size_t first, std::size_t count) const noexcept {
    return {.type = type,
            .rows = count,
            .cols = cols,
            .data = data + first * row_stride(),
            .packed = count == rows ? packed : nullptr,
            .int8 = count == rows ? int8 : nullptr};
  }
  [[nodiscard]] const std::byte* row(std::size_t i) const noexcept { return data + i * row_stride(); }
};

}  // namespace thinkey
