// Quantized weight matrices rearranged for decode: x86 with AVX-512 VNNI. A panel is 16 rows; its codes lie
// so that one vector holds four columns of all of them. Products then unpack nothing per row and add nothing
// across lanes, and read one stream, front to back. The numbers are the file's, to the bit.
#pragma once

#include <cstddef>
#include <cstdint>

#include "backend/cpu/ops/matvec_int8.h"
#include "base/matrix_view.h"

namespace thinkey {

inline constexpr std::size_t kPackedPanel = 16;  // rows side by side

// Bytes of a matrix of has_int8_product(type) when packed: the file's, but for 6-bit scales, which take 8
// bits, and rows and columns padded to whole panels and groups of 256.
[[nodiscard]] std::size_t packed_bytes(TensorType type, std::size_t rows, std::size_t cols) noexcept;

// Writes packed_bytes() to `out`, aligned to 64, in parallel. Needs cpu_multiplies_int8().
void pack_matrix(const MatrixView& matrix, std::byte* out);

// Rows of a packed matrix, from the beginning of a panel on. Needs cpu_multiplies_int8().
void multiply_packed(const Int8Rows& job);

}  // namespace thinkey
