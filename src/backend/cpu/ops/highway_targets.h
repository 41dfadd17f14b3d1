// Which of Highway's targets the element kernels are compiled for. Include before any Highway header.
#pragma once

// SSSE3 without SSE4 is extinct. Our kernels keep vectors in arrays and structs, which the
// variable-length types of SVE and RVV forbid; such machines run the NEON or the portable code.
//
// AVX-512's later subsets bring nothing to f32 arithmetic; the sanitized build keeps two targets, since
// instrumented kernels are slow to compile. Two of those subsets are named by their bits: Highway 1.0.3
// has no macro for HWY_AVX3_SPR (4) and HWY_AVX3_ZEN4 (6), and gives these bits to nobody else.
#ifndef HWY_DISABLED_TARGETS
#ifdef THINKEY_FEW_TARGETS
#define HWY_DISABLED_TARGETS                                                                      \
  ((1LL << 4) | (1LL << 6) | HWY_SSSE3 | HWY_SSE4 | HWY_AVX3 | HWY_AVX3_DL | HWY_SVE | HWY_SVE2 | \
   HWY_SVE_256 | HWY_SVE2_128 | HWY_RVV)
#else
#define HWY_DISABLED_TARGETS                                                                             \
  ((1LL << 4) | (1LL << 6) | HWY_SSSE3 | HWY_AVX3_DL | HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128 | \
   HWY_RVV)
#endif
#endif
