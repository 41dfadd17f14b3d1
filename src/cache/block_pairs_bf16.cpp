#include "cache/block_pairs_bf16.h"

#include <cstdlib>

#include "base/half.h"

#if defined(__x86_64__)
#include <immintrin.h>

// Highway 1.0 has no name for these instructions on our targets, hence intrinsics.
#define THINKEY_BF16 __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")))
#define THINKEY_BF16_INLINE THINKEY_BF16 inline __attribute__((always_inline))

namespace thinkey {
namespace {

constexpr std::size_t kMostPairs = 256;  // of the largest head_dim a model file may have

// (code - centre) of every 5-bit index, whose upper bits belong to other codes, as bf16.
template <ElementFormat kFormat>
struct CodeTable {
  alignas(64) bf16_bits values[32] = {};
  constexpr CodeTable() {
    for (unsigned i = 0; i < 32; ++i) {
      const unsigned code = i & ((1U << element_bits(kFormat)) - 1U);
      values[i] = bf16_from_f32(static_cast<float>(code) - code_centre(kFormat));
    }
  }
};
template <ElementFormat kFormat>
constexpr CodeTable<kFormat> kCodeTable;

// How far 2-bit codes are shifted: the first plane's sixteen not at all, the second's by two bits.
struct PlaneShifts {
  alignas(64) std::uint16_t values[32] = {};
  constexpr PlaneShifts() {
    for (std::size_t i = 16; i < 32; ++i) values[i] = 2;
  }
};
constexpr PlaneShifts kPlaneShifts;

// A row's 64 codes as bf16 in order: 32 in each vector.
struct Codes {
  __m512i low, high;
};

template <ElementFormat kFormat>
THINKEY_BF16_INLINE Codes load_codes(const std::byte* row, __m512i table) {
  if constexpr (kFormat == ElementFormat::Q4) {
    const __m512i bytes = _mm512_cvtepu8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(row)));
    return {_mm512_permutexvar_epi16(bytes, table),
            _mm512_permutexvar_epi16(_mm512_srli_epi16(bytes, 4), table)};
  } else {
    const __m128i packed = _mm_loadu_si128(reinterpret_cast<const __m128i*>(row));
    const __m512i bytes = _mm512_cvtepu8_epi16(_mm256_broadcastsi128_si256(packed));
    const __m512i shifts = _mm512_load_si512(kPlaneShifts.values);
    return {_mm512_permutexvar_epi16(_mm512_srlv_epi16(bytes, shifts), table),
            _mm512_permutexvar_epi16(_mm512_srlv_epi16(bytes, _mm512_add_epi16(shifts, _mm512_set1_epi16(4))),
                                     table)};
  }
}

THINKEY_BF16_INLINE __m512 multiply_add(__m512 sum, __m512i codes, std::uint32_t pair) {
  return _mm512_dpbf16_ps(sum, (__m512bh)codes, (__m512bh)_mm512_set1_epi32(static_cast<int>(pair)));
}

THINKEY_BF16_INLINE void round_to_bf16(const float* from, std::size_t n, std::uint32_t* to) {
  for (std::size_t i = 0; i < n; i += 16) {
    _mm256_store_si256(reinterpret_cast<__m256i*>(to + i / 2),
                       (__m256i)_mm512_cvtneps_pbh(_mm512_loadu_ps(from + i)));
  }
}

// sums[r] = the row of 32 sums of query row r over `pairs` rows of codes; the factors of pair p and row r
// are factors[p * step + r * row_step]. Few query rows take several code rows at a time, so that enough
// independent sums hide the latency.
template <ElementFormat kFormat, std::size_t kRows>
THINKEY_BF16_INLINE void sum_pairs(const std::byte* rows, std::size_t row_bytes, std::size_t pairs,
                                   const std::uint32_t* factors, std::size_t step, std::size_t row_step,
                                   __m512 (*sums)[2]) {
  constexpr std::size_t kChains = 4 / kRows;
  const __m512i table = _mm512_load_si512(kCodeTable<kFormat>.values);
  __m512 part[kChains][kRows][2];
#pragma GCC unroll 8
  for (std::size_t u = 0; u < kChains; ++u) {
#pragma GCC unroll 8
    for (std::size_t r = 0; r < kRows; ++r) part[u][r][0] = part[u][r][1] = _mm512_setzero_ps();
  }
  std::size_t p = 0;
  for (; p + kChains <= pairs; p += kChains) {
#pragma GCC unroll 8
    for (std::size_t u = 0; u < kChains; ++u) {
      const Codes codes = load_codes<kFormat>(rows + (p + u) * row_bytes, table);
#pragma GCC unroll 8
      for (std::size_t r = 0; r < kRows; ++r) {
        const std::uint32_t factor = factors[(p + u) * step + r * row_step];
        part[u][r][0] = multiply_add(part[u][r][0], codes.low, factor);
        part[u][r][1] = multiply_add(part[u][r][1], codes.high, factor);
      }
    }
  }
  for (; p < pairs; ++p) {
    const Codes codes = load_codes<kFormat>(rows + p * row_bytes, table);
#pragma GCC unroll 8
    for (std::size_t r = 0; r < kRows; ++r) {
      const std::uint32_t factor = factors[p * step + r * row_step];
      part[0][r][0] = multiply_add(part[0][r][0], codes.low, factor);
      part[0][r][1] = multiply_add(part[0][r][1], codes.high, factor);
    }
  }
#pragma GCC unroll 8
  for (std::size_t r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
    for (std::size_t half = 0; half < 2; ++half) {
      sums[r][half] = part[0][r][half];
#pragma GCC unroll 8
      for (std::size_t u = 1; u < kChains; ++u) {
        sums[r][half] = _mm512_add_ps(sums[r][half], part[u][r][half]);
      }
    }
  }
}

template <ElementFormat kFormat, std::size_t kRows>
THINKEY_BF16 void score(const std::byte* keys, std::size_t row_bytes, std::size_t pairs, const float* q,
                        const float* start, bool first, float* scores) {
  alignas(64) std::uint32_t factors[(kMostPairs + 16) * kRows];
  round_to_bf16(q, 2 * pairs * kRows, factors);
  __m512 sums[kRows][2];
  sum_pairs<kFormat, kRows>(keys, row_bytes, pairs, factors, kRows, 1, sums);
#pragma GCC unroll 8
  for (std::size_t r = 0; r < kRows; ++r) {
    const __m512 from = _mm512_set1_ps(start[r]);
#pragma GCC unroll 8
    for (std::size_t half = 0; half < 2; ++half) {
      float* at = scores + r * kBlockTokens + 16 * half;
      const __m512 before = first ? from : _mm512_add_ps(from, _mm512_loadu_ps(at));
      _mm512_storeu_ps(at, _mm512_add_ps(before, sums[r][half]));
    }
  }
}

template <ElementFormat kFormat, std::size_t kRows>
THINKEY_BF16 void weigh(const std::byte* values, std::size_t row_bytes, std::size_t pairs,
                        const float* weights, const float* factor, const float* offset, std::size_t stride,
                        float* out) {
  alignas(64) std::uint32_t factors[kRows * kBlockTokens / 2];
  round_to_bf16(weights, kRows * kBlockTokens, factors);
  __m512 sums[kRows][2];
  sum_pairs<kFormat, kRows>(values, row_bytes, pairs, factors, 1, kBlockTokens / 2, sums);
#pragma GCC unroll 8
  for (std::size_t r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
    for (std::size_t half = 0; half < 2; ++half) {
      float* at = out + r * stride + 16 * half;
      const __m512 before =
          _mm512_fmadd_ps(_mm512_set1_ps(factor[r]), _mm512_loadu_ps(at), _mm512_set1_ps(offset[r]));
      _mm512_storeu_ps(at, _mm512_add_ps(before, sums[r][half]));
    }
  }
}

}  // namespace

bool cpu_multiplies_bf16_pairs() noexcept {
  static const bool supported =
      __builtin_cpu_supports("avx512bf16") != 0 && __builtin_cpu_supports("avx512bw") != 0 &&
      __builtin_cpu_supports("avx512vl") != 0 && __builtin_cpu_supports("avx512dq") != 0;
  return supported;
}

void score_pairs_bf16(const PairKernel& kernel, const std::byte* keys, std::size_t row_bytes,
                      std::size_t pairs, const float* q, const float* start, bool first, float* scores) {
  const auto run = [&]<ElementFormat kFormat>() {
    switch (kernel.rows) {
      case 1:
        return score<kFormat, 1>(keys, row_bytes, pairs, q, start, first, scores);
      case 2:
        return score<kFormat, 2>(keys, row_bytes, pairs, q, start, first, scores);
      default:
        return score<kFormat, 4>(keys, row_bytes, pairs, q, start, first, scores);
    }
  };
  kernel.format == ElementFormat::Q4 ? run.operator()<ElementFormat::Q4>()
                                     : run.operator()<ElementFormat::Q2>();
}

void weigh_pairs_bf16(const PairKernel& kernel, const std::byte* values, std::size_t row_bytes,
                      std::size_t pairs, const float* weights, const float* factor, const float* offset,
                      std::size_t stride, float* out) {
  const auto run = [&]<ElementFormat kFormat>() {
    switch (kernel.rows) {
      case 1:
        return weigh<kFormat, 1>(values, row_bytes, pairs, weights, factor, offset, stride, out);
      case 2:
        return weigh<kFormat, 2>(values, row_bytes, pairs, weights, factor, offset, stride, out);
      default:
        return weigh<kFormat, 4>(values, row_bytes, pairs, weights, factor, offset, stride, out);
    }
  };
  kernel.format == ElementFormat::Q4 ? run.operator()<ElementFormat::Q4>()
                                     : run.operator()<ElementFormat::Q2>();
}

}  // namespace thinkey

#else  // never called where cpu_multiplies_bf16_pairs() is false

namespace thinkey {

bool cpu_multiplies_bf16_pairs() noexcept { return false; }
void score_pairs_bf16(const PairKernel&, const std::byte*, std::size_t, std::size_t, const float*,
                      const float*, bool, float*) {
  std::abort();
}
void weigh_pairs_bf16(const PairKernel&, const std::byte*, std::size_t, std::size_t, const float*,
                      const float*, const float*, std::size_t, float*) {
  std::abort();
}

}  // namespace thinkey

#endif
