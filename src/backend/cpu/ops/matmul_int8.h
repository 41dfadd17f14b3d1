// Matrix products of prefill in 8 bits: x86 with AVX-512 VNNI, at up to twice the rate of bf16 pairs. Both
// sides are rounded to 8 bits with an f32 scale for every 64 numbers of a row; sums are exact within the 64
// and f32 across them.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/half.h"
#include "base/matrix_view.h"

namespace thinkey {

inline constexpr std::size_t kInt8Depth = 64;  // numbers of a row that share a scale
inline constexpr std::size_t kInt8Panel = 64;  // rows of a weight matrix that lie side by side

// Activations: x[r, i] = codes[r, i] * scales[r, i / 64], rows padded with zeros to whole depths.
struct Int8Activations {
  std::size_t depths = 0;        // ceil(width / 64)
  std::int8_t* codes = nullptr;  // [rows, depths * 64], -127 .. 127
  float* scales = nullptr;       // [rows, depths]; NaN where x has an infinity or a NaN
  std::int32_t* sums = nullptr;  // [rows, depths], of the codes
};
// Memory for `rows` of `width` activations, and its parts. 64-byte aligned.
[[nodiscard]] std::size_t int8_activation_bytes(std::size_t rows, std::size_t width) noexcept;
[[nodiscard]] Int8Activations int8_activations(std::byte* memory, std::size_t rows,
                                               std::size_t width) noexcept;

// Of one depth of one panel: codes [16, 64 rows, 4 columns] with 128 added, then scales [64 rows].
inline constexpr std::size_t kInt8CodeBytes = kInt8Depth * kInt8Panel;
inline constexpr std::size_t kInt8DepthBytes = kInt8CodeBytes + kInt8Panel * sizeof(float);

// Weights [rows, cols] in panels of 64 rows, padded with zeros; or some panels of such weights, or some
// depths.
struct Int8Weights {
  std::size_t rows = 0;
  std::size_t depths = 0;           // ceil(cols / 64)
  const std::byte* data = nullptr;  // the first panel's first depth; its other depths follow
  std::size_t panel_bytes = 0;      // from one panel to the next

  [[nodiscard]] const std::uint8_t* codes(std::size_t panel, std::size_t depth) const noexcept {
    return reinterpret_cast<const std::uint8_t*>(data + panel * panel_bytes + depth * kInt8DepthBytes);
  }
  [[nodiscard]] const float* scales(std::size_t panel, std::size_t depth) const noexcept {
    return reinterpret_cast<const float*>(codes(panel, depth) + kInt8CodeBytes);
  }
  // Rows from `row` on, columns from `col` on, both multiples of 64; the last depth may reach past `cols` of
  // them only where the whole matrix ends there.
  [[nodiscard]] Int8Weights part(std::size_t row, std::size_t part_rows, std::size_t col,
                                 std::size_t cols) const noexcept;
};
[[nodiscard]] std::size_t int8_weight_bytes(std::size_t rows, std::size_t cols) noexcept;
// What quantize_columns() wrote to `memory`, 64-byte aligned.
[[nodiscard]] Int8Weights int8_weights(const std::byte* memory, std::size_t rows, std::size_t cols) noexcept;

// The following need cpu_multiplies_int8() (matvec_int8.h) and run in parallel.

// x [rows, width], dense.
void quantize_rows(const float* x, std::size_t rows, std::size_t width, const Int8Activations& out);
void quantize_rows(const bf16_bits* x, std::size_t rows, std::size_t width, const Int8Activations& out);

// Columns [first, first + cols) of all of the matrix's rows, whole blocks of its type, to
// int8_weight_bytes(matrix.rows, cols) of memory.
void quantize_columns(const MatrixView& matrix, std::size_t first, std::size_t cols, std::byte* out);

// y[r, o] = sum_i x[r, i] * w[o, i] for the first `rows` rows of x; y has `stride` elements between rows.
void matmul_int8(const Int8Activations& x, std::size_t rows, const Int8Weights& w, float* y,
                 std::size_t stride);

}  // namespace thinkey
