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

// 32 pairs of bf16, 16 in each vector.
struct Pairs {
  __m512i low, high;
};

// Stored rows that make a row of pairs.
template <ElementFormat kFormat>
constexpr std::size_t kStoredRows = 2 / elements_paired(kFormat);

THINKEY_BF16_INLINE __m512i widen_signed(const std::byte* codes) {
  const __m128i flipped =
      _mm_xor_si128(_mm_loadu_si128(reinterpret_cast<const __m128i*>(codes)), _mm_set1_epi8(-128));
  return (__m512i)_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(flipped));  // exact in the upper 16 bits
}
THINKEY_BF16_INLINE __m512i pair_upper_halves(__m512i first, __m512i second) {
  return _mm512_mask_blend_epi16(0xaaaaaaaaU, _mm512_srli_epi32(first, 16), second);
}

// A row of pairs: a row of 4- or 2-bit codes, or two rows of one number each.
template <ElementFormat kFormat>
THINKEY_BF16_INLINE Pairs load_pairs(const std::byte* row, const std::byte* second) {
  if constexpr (kFormat == ElementFormat::Q8) {
    return {pair_upper_halves(widen_signed(row), widen_signed(second)),
            pair_upper_halves(widen_signed(row + 16), widen_signed(second + 16))};
  } else if constexpr (kFormat == ElementFormat::Q4) {
    const __m512i table = _mm512_load_si512(kCodeTable<kFormat>.values);
    const __m512i bytes = _mm512_cvtepu8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(row)));
    return {_mm512_permutexvar_epi16(bytes, table),
            _mm512_permutexvar_epi16(_mm512_srli_epi16(bytes, 4), table)};
  } else {
    const __m512i table = _mm512_load_si512(kCodeTable<kFormat>.values);
    const __m128i packed = _mm_loadu_si128(reinterpret_cast<const __m128i*>(row));
    const __m512i bytes = _mm512_cvtepu8_epi16(_mm256_broadcastsi128_si256(packed));
    const __m512i shifts = _mm512_load_si512(kPlaneShifts.values);
    return {_mm512_permutexvar_epi16(_mm512_srlv_epi16(bytes, shifts), table),
            _mm512_permutexvar_epi16(_mm512_srlv_epi16(bytes, _mm512_add_epi16(shifts, _mm512_set1_epi16(4))),
                                     table)};
  }
}

THINKEY_BF16_INLINE __m512 multiply_add(__m512 sum, __m512i pairs, std::uint32_t pair) {
  return _mm512_dpbf16_ps(sum, (__m512bh)pairs, (__m512bh)_mm512_set1_epi32(static_cast<int>(pair)));
}

THINKEY_BF16_INLINE void round_to_bf16(const float* from, std::size_t n, std::uint32_t* to) {
  for (std::size_t i = 0; i < n; i += 16) {
    _mm256_store_si256(reinterpret_cast<__m256i*>(to + i / 2),
                       (__m256i)_mm512_cvtneps_pbh(_mm512_loadu_ps(from + i)));
  }
}

// sums[r] = the row of 32 sums of query row r over `count` stored rows; the factors of pair p and row r
// are factors[p * step + r * row_step]. Few query rows take several rows of pairs at a time, so that
// enough independent sums hide the latency.
template <ElementFormat kFormat, std::size_t kRows>
THINKEY_BF16_INLINE void sum_pairs(const std::byte* rows, std::size_t row_bytes, std::size_t count,
                                   const std::uint32_t* factors, std::size_t step, std::size_t row_step,
                                   __m512 (*sums)[2]) {
  constexpr std::size_t kChains = kRows == 3 ? 1 : 4 / kRows;
  constexpr std::size_t kStored = kStoredRows<kFormat>;
  const std::size_t pair_bytes = kStored * row_bytes;
  const std::byte* const last = rows + (count - 1) * row_bytes;  // partner of itself, with a factor of 0
  __m512 part[kChains][kRows][2];
#pragma GCC unroll 8
  for (std::size_t u = 0; u < kChains; ++u) {
#pragma GCC unroll 8
    for (std::size_t r = 0; r < kRows; ++r) part[u][r][0] = part[u][r][1] = _mm512_setzero_ps();
  }
  const auto add = [&](std::size_t p, const std::byte* row, const std::byte* second, __m512(*to)[2])
      __attribute__((always_inline)) THINKEY_BF16 {
    const Pairs pairs = load_pairs<kFormat>(row, second);
#pragma GCC unroll 8
    for (std::size_t r = 0; r < kRows; ++r) {
      const std::uint32_t factor = factors[p * step + r * row_step];
      to[r][0] = multiply_add(to[r][0], pairs.low, factor);
      to[r][1] = multiply_add(to[r][1], pairs.high, factor);
    }
  };
  std::size_t p = 0;
  for (; (p + kChains) * kStored <= count; p += kChains, rows += kChains * pair_bytes) {
#pragma GCC unroll 8
    for (std::size_t u = 0; u < kChains; ++u) {
      add(p + u, rows + u * pair_bytes, rows + u * pair_bytes + row_bytes, part[u]);
    }
  }
  for (; p * kStored < count; ++p, rows += pair_bytes) {
    add(p, rows, p * kStored + 1 < count ? rows + row_bytes : last, part[0]);
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
THINKEY_BF16 void score(const std::byte* keys, std::size_t row_bytes, std::size_t count, const float* q,
                        const float* start, bool first, float* scores) {
  alignas(64) std::uint32_t factors[(kMostPairs + 16) * kRows];
  const std::size_t pairs = (count + kStoredRows<kFormat> - 1) / kStoredRows<kFormat>;
  round_to_bf16(q, 2 * pairs * kRows, factors);
  __m512 sums[kRows][2];
  sum_pairs<kFormat, kRows>(keys, row_bytes, count, factors, kRows, 1, sums);
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
THINKEY_BF16 void weigh(const std::byte* values, std::size_t row_bytes, std::size_t count,
                        const float* weights, const float* factor, std::size_t stride, float* out) {
  alignas(64) std::uint32_t factors[kRows * kBlockTokens / 2];
  round_to_bf16(weights, kRows * kBlockTokens, factors);
  __m512 sums[kRows][2];
  sum_pairs<kFormat, kRows>(values, row_bytes, count, factors, 1, kBlockTokens / 2, sums);
#pragma GCC unroll 8
  for (std::size_t r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
    for (std::size_t half = 0; half < 2; ++half) {
      float* at = out + r * stride + 16 * half;
      _mm512_storeu_ps(at, _mm512_fmadd_ps(_mm512_set1_ps(factor[r]), _mm512_loadu_ps(at), sums[r][half]));
    }
  }
}

// Calls body.operator()<format, rows>() for the kernel's.
template <typename Body>
void specialize(const PairKernel& kernel, const Body& body) {
  const auto with_format = [&]<ElementFormat kFormat>() {
    switch (kernel.rows) {
      case 1:
        return body.template operator()<kFormat, 1>();
      case 2:
        return body.template operator()<kFormat, 2>();
      case 3:
        return body.template operator()<kFormat, 3>();
      default:
        return body.template operator()<kFormat, 4>();
    }
  };
  switch (kernel.format) {
    case ElementFormat::I16:  // multiplied as integers instead
      std::abort();
    case ElementFormat::Q8:
      return with_format.template operator()<ElementFormat::Q8>();
    case ElementFormat::Q4:
      return with_format.template operator()<ElementFormat::Q4>();
    case ElementFormat::Q2:
      return with_format.template operator()<ElementFormat::Q2>();
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
                      std::size_t count, const float* q, const float* start, bool first, float* scores) {
  specialize(kernel, [&]<ElementFormat kFormat, std::size_t kRows>() {
    score<kFormat, kRows>(keys, row_bytes, count, q, start, first, scores);
  });
}

void weigh_pairs_bf16(const PairKernel& kernel, const std::byte* values, std::size_t row_bytes,
                      std::size_t count, const float* weights, const float* factor, std::size_t stride,
                      float* out) {
  specialize(kernel, [&]<ElementFormat kFormat, std::size_t kRows>() {
    weigh<kFormat, kRows>(values, row_bytes, count, weights, factor, stride, out);
  });
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
