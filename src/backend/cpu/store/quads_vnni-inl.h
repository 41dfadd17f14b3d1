// Codes as quads of bytes, and sums of their products (AVX512_VNNI). For block_quads_vnni.cpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "backend/cpu/ops/vnni-inl.h"
#include "backend/cpu/store/block.h"

namespace thinkey::vnni {

// 32 quads of codes, 16 in each vector.
struct Quads {
  __m512i low, high;
};

THINKEY_VNNI_INLINE __m512i load512(const std::byte* from) { return _mm512_loadu_si512(from); }
THINKEY_VNNI_INLINE __m128i load128(const std::byte* from) {
  return _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
}
THINKEY_VNNI_INLINE __m512 load_f16(const f16_bits* from) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
}

// Codes of 16 quads, from the plane that `shift` bits bring down.
template <ElementFormat kFormat>
THINKEY_VNNI_INLINE __m512i plane(__m512i packed, int shift, __m512i mask) {
  if constexpr (kFormat == ElementFormat::Q4) {
    return _mm512_and_si512(_mm512_srli_epi32(packed, static_cast<unsigned>(shift)), mask);
  } else {  // two planes of eight lanes each
    const __m512i shifts = _mm512_setr_epi32(0, 0, 0, 0, 0, 0, 0, 0, 2, 2, 2, 2, 2, 2, 2, 2);
    const __m512i both = _mm512_srlv_epi32(packed, _mm512_add_epi32(shifts, _mm512_set1_epi32(shift)));
    return _mm512_and_si512(both, mask);
  }
}

// A row of quads.
template <ElementFormat kFormat>
THINKEY_VNNI_INLINE Quads load_quads(const std::byte* row) {
  if constexpr (kFormat == ElementFormat::Q8) {
    return {load512(row), load512(row + 64)};
  } else if constexpr (kFormat == ElementFormat::Q4) {
    const __m512i mask = _mm512_set1_epi8(15);
    const __m512i packed = load512(row);
    return {_mm512_and_si512(packed, mask), plane<kFormat>(packed, 4, mask)};
  } else {
    const __m512i mask = _mm512_set1_epi8(3);
    const __m512i packed = _mm512_broadcast_i64x4(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(row)));
    return {plane<kFormat>(packed, 0, mask), plane<kFormat>(packed, 4, mask)};
  }
}

// One to three channels that lie alone, as quads with zeros.
template <ElementFormat kFormat>
THINKEY_VNNI_INLINE Quads load_lone(const std::byte* rows, std::size_t channels) {
  constexpr std::size_t kRow = plane_quads(kFormat);
  Quads quads{_mm512_setzero_si512(), _mm512_setzero_si512()};
  for (std::size_t c = 0; c < channels; ++c, rows += kRow) {
    Quads row;
    if constexpr (kFormat == ElementFormat::Q8) {
      row = {_mm512_cvtepu8_epi32(load128(rows)), _mm512_cvtepu8_epi32(load128(rows + 16))};
    } else if constexpr (kFormat == ElementFormat::Q4) {
      const __m512i packed = _mm512_cvtepu8_epi32(load128(rows));
      const __m512i mask = _mm512_set1_epi32(15);
      row = {_mm512_and_si512(packed, mask), plane<kFormat>(packed, 4, mask)};
    } else {
      std::int64_t eight = 0;
      std::memcpy(&eight, rows, sizeof(eight));
      const __m512i packed = _mm512_cvtepu8_epi32(_mm_set1_epi64x(eight));
      const __m512i mask = _mm512_set1_epi32(3);
      row = {plane<kFormat>(packed, 0, mask), plane<kFormat>(packed, 4, mask)};
    }
    const __m128i by = _mm_cvtsi64_si128(static_cast<std::int64_t>(8 * c));
    quads.low = _mm512_or_si512(quads.low, _mm512_sll_epi32(row.low, by));
    quads.high = _mm512_or_si512(quads.high, _mm512_sll_epi32(row.high, by));
  }
  return quads;
}

// Sixteen 32-bit numbers of four vectors as bytes, quads of one vector after another's per 128-bit lane.
template <bool kSigned>
THINKEY_VNNI_INLINE void store_bytes(const __m512i* x, std::int32_t* to) {
  if constexpr (kSigned) {
    _mm512_store_si512(to,
                       _mm512_packs_epi16(_mm512_packs_epi32(x[0], x[1]), _mm512_packs_epi32(x[2], x[3])));
  } else {
    _mm512_store_si512(to,
                       _mm512_packus_epi16(_mm512_packus_epi32(x[0], x[1]), _mm512_packus_epi32(x[2], x[3])));
  }
}

// Bits of the lower part where factors have two: what a byte holds, of signed ones without the sign.
template <typename Factors>
constexpr unsigned kPartBits = Factors::kSigned ? 7 : 8;

// Whole numbers of four vectors as factors.rounded[part] + at, in one part or split into two, the upper
// first.
template <typename Factors>
THINKEY_VNNI_INLINE void store_parts(__m512i (&x)[4], Factors& factors, std::size_t at) {
  if constexpr (Factors::kParts == 2) {
    constexpr unsigned kBits = kPartBits<Factors>;
    __m512i low[4];
#pragma GCC unroll 4
    for (std::size_t i = 0; i < 4; ++i) {
      low[i] = _mm512_and_si512(x[i], _mm512_set1_epi32((1 << kBits) - 1));
      x[i] = _mm512_srai_epi32(x[i], kBits);
    }
    store_bytes<Factors::kSigned>(low, factors.rounded[1] + at);
  }
  store_bytes<Factors::kSigned>(x, factors.rounded[0] + at);
}

// Sums of quads times factors, one of each row per quad, kept where Factors::at(quad, row) says. dpbusd's
// first operand is unsigned, its second signed: codes and queries, or weights and codes.
template <typename Factors>
struct ByteQuadSums {
  static constexpr std::size_t kRows = Factors::kRows;
  static constexpr std::size_t kParts = Factors::kParts;
  __m512i sums[kParts][kRows][2];

  THINKEY_VNNI_INLINE ByteQuadSums() {
#pragma GCC unroll 8
    for (std::size_t part = 0; part < kParts; ++part) {
#pragma GCC unroll 8
      for (std::size_t r = 0; r < kRows; ++r) sums[part][r][0] = sums[part][r][1] = _mm512_setzero_si512();
    }
  }
  THINKEY_VNNI_INLINE void add(const Quads& quads, const Factors& factors, std::size_t quad) {
#pragma GCC unroll 8
    for (std::size_t part = 0; part < kParts; ++part) {
#pragma GCC unroll 8
      for (std::size_t r = 0; r < kRows; ++r) {
        const __m512i factor = _mm512_set1_epi32(factors.rounded[part][Factors::at(quad, r)]);
        __m512i* to = sums[part][r];
        if constexpr (Factors::kSigned) {
          to[0] = _mm512_dpbusd_epi32(to[0], quads.low, factor);
          to[1] = _mm512_dpbusd_epi32(to[1], quads.high, factor);
        } else {
          to[0] = _mm512_dpbusd_epi32(to[0], factor, quads.low);
          to[1] = _mm512_dpbusd_epi32(to[1], factor, quads.high);
        }
      }
    }
  }
  [[nodiscard]] THINKEY_VNNI_INLINE __m512 total(std::size_t r, std::size_t half) const {
    const __m512 sum = _mm512_cvtepi32_ps(sums[0][r][half]);
    if constexpr (kParts == 1) return sum;
    const __m512 step = _mm512_set1_ps(1 << kPartBits<Factors>);
    return _mm512_fmadd_ps(sum, step, _mm512_cvtepi32_ps(sums[kParts - 1][r][half]));
  }
};

// A number and its reciprocal, within 2^-14 of it and exact to each other; not so small that they overflow.
// Division would take as long as a row of products.
struct Unit {
  __m512 inverse, factor;

  explicit THINKEY_VNNI_INLINE Unit(__m512 x) {
    x = _mm512_max_ps(x, _mm512_set1_ps(1e-37F));
    factor = _mm512_rcp14_ps(x);
    inverse = _mm512_mul_ps(x, _mm512_fnmadd_ps(x, factor, _mm512_set1_ps(2.0F)));
  }
};

}  // namespace thinkey::vnni
