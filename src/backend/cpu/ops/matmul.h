// Dense matrix products through oneDNN (2.6 and 3.x).
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/half.h"

namespace thinkey {

// How prefill multiplies: bf16 inputs where the CPU has bf16 products, f32 otherwise or by request.
// Accumulation is f32 in both.
enum class Precision : std::uint8_t { F32, BF16 };

// True when bf16 products run at full rate here: AVX512_BF16 or AMX, unless ONEDNN_MAX_CPU_ISA
// forbids them; on Arm, BF16 instructions and a oneDNN that uses them. BF16 products are correct
// everywhere, elsewhere slower than F32.
[[nodiscard]] bool cpu_multiplies_bf16();

// True when oneDNN's bf16 products run on AMX tiles.
[[nodiscard]] bool cpu_has_amx();

// C[M,N] = A[M,K] * B, B either [N,K] (transposed: weights, keys) or [K,N] (values).
// Leading dimensions in elements, each at least the row's length; the gaps are neither read nor
// written. Any size may be 0: no depth gives zeros. Inside a parallel_for the product runs on the
// calling thread. A shape's first use on a thread prepares it (milliseconds, then remembered).
struct MatmulShape {
  std::size_t m = 0, n = 0, k = 0;
  std::size_t lda = 0, ldb = 0, ldc = 0;
  bool b_transposed = true;
  bool accumulate = false;  // C += A * B
  bool operator==(const MatmulShape&) const = default;
};

void matmul(const MatmulShape& shape, const float* a, const float* b, float* c);
void matmul(const MatmulShape& shape, const bf16_bits* a, const bf16_bits* b, float* c);

}  // namespace thinkey
