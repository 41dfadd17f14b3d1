// What the 8-bit kernels share: x86 intrinsics, because Highway 1.0 has no names for these products.
#pragma once

#include <immintrin.h>

// GCC and clang compile these functions for VNNI whatever the rest of the program is compiled for.
#define THINKEY_VNNI __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,f16c")))
#define THINKEY_VNNI_INLINE inline __attribute__((always_inline)) THINKEY_VNNI

namespace thinkey {

// mxfp4_scale_bits() of 16 exponents.
THINKEY_VNNI_INLINE __m512 mxfp4_scales(__m512i exponents) {
  const __m512i normal = _mm512_slli_epi32(_mm512_sub_epi32(exponents, _mm512_set1_epi32(1)), 23);
  const __mmask16 small = _mm512_cmplt_epi32_mask(exponents, _mm512_set1_epi32(2));
  return _mm512_castsi512_ps(_mm512_mask_sllv_epi32(normal, small, _mm512_set1_epi32(0x00200000), exponents));
}

}  // namespace thinkey
