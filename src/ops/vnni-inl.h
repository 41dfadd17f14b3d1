// What the 8-bit kernels share: x86 intrinsics, because Highway 1.0 has no names for these products.
#pragma once

#include <immintrin.h>

// GCC and clang compile these functions for VNNI whatever the rest of the program is compiled for.
#define THINKEY_VNNI __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,f16c")))
#define THINKEY_VNNI_INLINE inline __attribute__((always_inline)) THINKEY_VNNI
