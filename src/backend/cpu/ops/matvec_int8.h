// Products of quantized weights with activations rounded to 8 bits, four multiply-adds per 32-bit lane:
// x86 with AVX-512 VNNI. Elsewhere nothing here is called and matvec multiplies in f32.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/tensor_type.h"

namespace thinkey {

inline constexpr std::size_t kInt8Group = 256;     // elements of a K-quant's super-block
inline constexpr std::size_t kInt8Block = 32;      // elements that share an activation scale
inline constexpr std::size_t kInt8Sixteenth = 16;  // elements of a Q6_K sub-block

// 256 activations, x[i] = codes[i] * scales[i / 32]. The sums serve the weights' constant parts (minima,
// centres): they are what such a constant is multiplied with.
struct alignas(64) Int8Group {
  std::int8_t codes[kInt8Group];                    // -127 .. 127
  float scales[kInt8Group / kInt8Block];            // largest magnitude / 127
  float sums[kInt8Group / kInt8Block];              // sum of x, as rounded, over each 32
  float half_sums[kInt8Group / kInt8Sixteenth];     // the same over each 16
  std::int32_t code_sums[kInt8Group / kInt8Block];  // of the codes alone
  std::int32_t half_code_sums[kInt8Group / kInt8Sixteenth];
};

// True when this CPU has the instructions.
[[nodiscard]] bool cpu_multiplies_int8() noexcept;

// True for the types below 16 bits.
[[nodiscard]] bool has_int8_product(TensorType type) noexcept;

// Both of the following need cpu_multiplies_int8().

// Groups of n activations; n is a multiple of 32, the rest of the last group becomes zeros. A block
// that holds an infinity or a NaN gets a scale of NaN; one below 1e-35 becomes zeros.
void quantize_activations(const float* x, std::size_t n, Int8Group* groups);

// A range of one matrix's rows, in the file's order or packed (packed_matrix.h).
struct Int8Rows {
  TensorType type;              // has_int8_product()
  const std::uint8_t* weights;  // first row of the range, or its first panel
  std::size_t row_bytes;        // between rows in the file's order
  std::size_t rows, cols;
  const Int8Group* x;  // [batch, ceil(cols / 256)]
  std::size_t batch;
  float* y;              // [batch, y_stride], at the range's first row
  std::size_t y_stride;  // rows of the whole matrix
};
void multiply_rows_int8(const Int8Rows& job);  // in the file's order

}  // namespace thinkey
