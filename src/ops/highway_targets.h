// Which of Highway's targets the element kernels are compiled for. Include before any Highway header.
#pragma once

// SSSE3 without SSE4 is extinct. Our kernels keep vectors in arrays and structs, which the
// variable-length types of SVE and RVV forbid; such machines run the NEON or the portable code.
//
// AVX-512's later subsets bring nothing to f32 arithmetic; the sanitized build keeps two targets, since
// instrumented kernels are slow to compile.
#ifndef HWY_DISABLED_TARGETS
#ifdef THINKEY_FEW_TARGETS
#define HWY_DISABLED_TARGETS                                                                            \
  (HWY_SSSE3 | HWY_SSE4 | HWY_AVX3 | HWY_AVX3_DL | HWY_AVX3_ZEN4 | HWY_SVE | HWY_SVE2 | HWY_SVE_256 | \
   HWY_SVE2_128 | HWY_RVV)
#else
#define HWY_DISABLED_TARGETS \
  (HWY_SSSE3 | HWY_AVX3_DL | HWY_AVX3_ZEN4 | HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128 | HWY_RVV)
#endif
#endif
