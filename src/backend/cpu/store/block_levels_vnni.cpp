#include "backend/cpu/store/block_levels_vnni.h"

#include <cstdlib>

#if defined(__x86_64__)
#include <algorithm>
#include <cstring>
#include <limits>

#include "backend/cpu/store/levels.h"
#include "backend/cpu/store/quads_vnni-inl.h"

namespace thinkey {
namespace {

using namespace vnni;

// Signed levels of a book of up to 32, for keys from 0 on (level + 128).
struct Tables {
  __m512i low, high;
};
template <ElementFormat kFormat, bool kSigned>
THINKEY_VNNI_INLINE Tables load_tables() {
  const LevelBook& book = level_book(kFormat);
  const __m512i centre = kSigned ? _mm512_setzero_si512() : _mm512_set1_epi8(-128);
  const auto table = [&](const std::int8_t* levels) THINKEY_VNNI {
    const __m128i sixteen = _mm_loadu_si128(reinterpret_cast<const __m128i*>(levels));
    return _mm512_xor_si512(_mm512_broadcast_i32x4(sixteen), centre);
  };
  return {table(book.levels), table(book.levels + 16)};
}

// Sixteen quads of ones and zeros from planes of four.
THINKEY_VNNI_INLINE __m512i bits_of(const std::byte* from, int plane) {
  const __m512i packed = _mm512_broadcast_i32x4(load128(from));
  const __m512i shifts = _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
  const __m512i down = _mm512_srlv_epi32(packed, _mm512_add_epi32(shifts, _mm512_set1_epi32(plane)));
  return _mm512_and_si512(down, _mm512_set1_epi8(1));
}

// 32 quads of levels.
template <ElementFormat kFormat, bool kSigned>
THINKEY_VNNI_INLINE Quads load_levels(const std::byte* row, const Tables& tables) {
  if constexpr (kFormat == ElementFormat::L8) {
    Quads quads{load512(row), load512(row + 64)};
    if constexpr (kSigned) {
      quads.low = _mm512_xor_si512(quads.low, _mm512_set1_epi8(-128));
      quads.high = _mm512_xor_si512(quads.high, _mm512_set1_epi8(-128));
    }
    return quads;
  } else if constexpr (kFormat == ElementFormat::L6) {
    const Quads low = load_quads<ElementFormat::Q4>(row);
    const Quads high = load_quads<ElementFormat::Q2>(row + 64);
    const __m512i half = _mm512_set1_epi8(kSigned ? 2 - 128 : 2);
    const auto join = [&](__m512i four, __m512i two) THINKEY_VNNI {
      const __m512i code = _mm512_or_si512(_mm512_slli_epi32(four, 2), _mm512_slli_epi32(two, 6));
      return _mm512_xor_si512(code, half);
    };
    return {join(low.low, high.low), join(low.high, high.high)};
  } else if constexpr (kFormat == ElementFormat::L5) {
    const Quads low = load_quads<ElementFormat::Q4>(row);
    const auto look_up = [&](__m512i four, int plane) THINKEY_VNNI {
      const __m512i bits = bits_of(row + 64, plane);
      return _mm512_mask_shuffle_epi8(_mm512_shuffle_epi8(tables.low, four),
                                      _mm512_test_epi8_mask(bits, bits), tables.high, four);
    };
    return {look_up(low.low, 0), look_up(low.high, 4)};
  } else {
    Quads codes;
    if constexpr (kFormat == ElementFormat::L4) {
      codes = load_quads<ElementFormat::Q4>(row);
    } else if constexpr (kFormat == ElementFormat::L1) {
      codes = {bits_of(row, 0), bits_of(row, 4)};
    } else {
      codes = load_quads<ElementFormat::Q2>(row);
      if constexpr (kFormat == ElementFormat::L3) {
        codes.low = _mm512_or_si512(codes.low, _mm512_slli_epi32(bits_of(row + 32, 0), 2));
        codes.high = _mm512_or_si512(codes.high, _mm512_slli_epi32(bits_of(row + 32, 4), 2));
      }
    }
    return {_mm512_shuffle_epi8(tables.low, codes.low), _mm512_shuffle_epi8(tables.low, codes.high)};
  }
}

// Of 32 tokens.
struct Scales {
  __m512 half[2];

  explicit THINKEY_VNNI_INLINE Scales(const std::byte* scales) {
    const auto exponent = static_cast<std::int8_t>(scales[kBlockTokens]);
    if (exponent == kNoExponent) {
      half[0] = half[1] = _mm512_set1_ps(std::numeric_limits<float>::quiet_NaN());
      return;
    }
    const __m512i base = _mm512_set1_epi32(level_scale_base(exponent));
    for (std::size_t i = 0; i < 2; ++i) {
      const __m512i codes = _mm512_cvtepu8_epi32(load128(scales + 16 * i));
      const __m512i bits = _mm512_add_epi32(_mm512_slli_epi32(codes, 23 - kLevelMantissaBits), base);
      half[i] = _mm512_castsi512_ps(_mm512_maskz_mov_epi32(_mm512_test_epi32_mask(codes, codes), bits));
    }
  }
};

template <ElementFormat kFormat, std::size_t kRows>
THINKEY_VNNI void score(const KeyRun& run, const std::byte* block, const LevelQueryBytes& queries,
                        const float* start, float* scores) {
  constexpr std::size_t kParts = levels_in_halves(kFormat) ? 2 : 1;
  const Tables tables = load_tables<kFormat, false>();
  __m512i sums[kParts][kRows][2];
#pragma GCC unroll 2
  for (std::size_t part = 0; part < kParts; ++part) {
#pragma GCC unroll 4
    for (std::size_t r = 0; r < kRows; ++r) sums[part][r][0] = sums[part][r][1] = _mm512_setzero_si512();
  }
  const std::byte* row = block + run.rows;
  const std::size_t quads = (run.channels + 3) / 4;
  const std::int32_t* q[2] = {queries.rounded[0], queries.rounded[1]};
#pragma GCC unroll 4
  for (std::size_t quad = 0; quad < quads; ++quad, row += run.row) {
    const Quads levels = load_levels<kFormat, false>(row, tables);
#pragma GCC unroll 2
    for (std::size_t part = 0; part < kParts; ++part) {
#pragma GCC unroll 4
      for (std::size_t r = 0; r < kRows; ++r) {
        const __m512i x = _mm512_set1_epi32(q[part][quad * kRows + r]);
        sums[part][r][0] = _mm512_dpbusd_epi32(sums[part][r][0], levels.low, x);
        sums[part][r][1] = _mm512_dpbusd_epi32(sums[part][r][1], levels.high, x);
      }
    }
  }
  const Scales scales(block + run.scales);
#pragma GCC unroll 4
  for (std::size_t r = 0; r < kRows; ++r) {
    const __m512 inverse = _mm512_set1_ps(queries.inverse[r]);
    const __m512 share = _mm512_set1_ps(queries.share[r]);
#pragma GCC unroll 2
    for (std::size_t half = 0; half < 2; ++half) {
      __m512 sum = _mm512_cvtepi32_ps(sums[0][r][half]);
      if constexpr (kParts == 2) {
        sum = _mm512_fmadd_ps(sum, _mm512_set1_ps(128.0F), _mm512_cvtepi32_ps(sums[kParts - 1][r][half]));
      }
      const __m512 product = _mm512_mul_ps(_mm512_add_ps(sum, share), inverse);
      _mm512_storeu_ps(scores + r * kBlockTokens + 16 * half,
                       _mm512_fmadd_ps(product, scales.half[half], _mm512_set1_ps(start[r])));
    }
  }
}

// A block's weights with the scales folded in, as unsigned bytes: folded weight = rounded * inverse.
template <std::size_t kRows_, std::size_t kParts_>
struct ByteWeights {
  static constexpr std::size_t kRows = kRows_;
  static constexpr std::size_t kParts = kParts_;
  static constexpr bool kSigned = false;
  alignas(64) std::int32_t rounded[kParts][(kRows + 1) / 2 * 16];
  float inverse[kRows];

  static constexpr std::size_t at(std::size_t quad, std::size_t r) {
    return r / 2 * 16 + quad % 4 * 4 + r % 2 * 2 + quad / 4;
  }

  THINKEY_VNNI_INLINE ByteWeights(const Scales& scales, const float* weights) {
    constexpr float kMost = kParts == 2 ? 65500.0F : 255.0F;
    __m512 folded[kRows][2];
    __m512 factors[kRows];
#pragma GCC unroll 4
    for (std::size_t r = 0; r < kRows; ++r) {
      folded[r][0] = _mm512_mul_ps(_mm512_loadu_ps(weights + r * kBlockTokens), scales.half[0]);
      folded[r][1] = _mm512_mul_ps(_mm512_loadu_ps(weights + r * kBlockTokens + 16), scales.half[1]);
      const float largest = _mm512_reduce_max_ps(_mm512_max_ps(folded[r][0], folded[r][1]));
      const Unit unit(_mm512_set1_ps(largest * (1.0F / kMost)));
      factors[r] = unit.factor;
      inverse[r] = _mm512_cvtss_f32(unit.inverse);
    }
#pragma GCC unroll 2
    for (std::size_t first = 0; first < kRows; first += 2) {
      __m512i x[4];
#pragma GCC unroll 4
      for (std::size_t i = 0; i < 4; ++i) {
        const std::size_t r = std::min(first + i / 2, kRows - 1);
        x[i] = _mm512_cvtps_epi32(_mm512_mul_ps(folded[r][i % 2], factors[r]));
      }
      store_parts(x, *this, 8 * first);
    }
  }
};

template <ElementFormat kFormat, std::size_t kRows>
THINKEY_VNNI void weigh(const BlockLayout& layout, const std::byte* block, const float* weights,
                        const float* factor, std::size_t stride, float* out) {
  constexpr std::size_t kParts = levels_in_halves(kFormat) ? 2 : 1;
  constexpr std::size_t kRowBytes = kUnit * 4 * element_bits(kFormat) / 8;
  const Tables tables = load_tables<kFormat, true>();
  const ByteWeights<kRows, kParts> folded(Scales(block + layout.value_scales), weights);
  for (std::size_t first = 0; first < layout.value_channels; first += kUnit) {
    ByteQuadSums<ByteWeights<kRows, kParts>> sums;
    const std::byte* row = block + layout.values_at(first);
#pragma GCC unroll 8
    for (std::size_t quad = 0; quad < kBlockTokens / 4; ++quad, row += kRowBytes) {
      sums.add(load_levels<kFormat, true>(row, tables), folded, quad);
    }
#pragma GCC unroll 4
    for (std::size_t r = 0; r < kRows; ++r) {
      const __m512 f = _mm512_set1_ps(factor[r]);
      const __m512 inverse = _mm512_set1_ps(folded.inverse[r]);
#pragma GCC unroll 2
      for (std::size_t half = 0; half < 2; ++half) {
        float* at = out + r * stride + first + 16 * half;
        const __m512 before = _mm512_mul_ps(f, _mm512_loadu_ps(at));
        _mm512_storeu_ps(at, _mm512_fmadd_ps(sums.total(r, half), inverse, before));
      }
    }
  }
}

// Calls body.operator()<format, rows>().
template <typename Body>
void specialize(ElementFormat format, std::size_t rows, const Body& body) {
  const auto with_format = [&]<ElementFormat kFormat>() {
    if (rows == 1) return body.template operator()<kFormat, 1>();
    if (rows == 2) return body.template operator()<kFormat, 2>();
    return body.template operator()<kFormat, 4>();
  };
  switch (format) {
    case ElementFormat::L8:
      return with_format.template operator()<ElementFormat::L8>();
    case ElementFormat::L6:
      return with_format.template operator()<ElementFormat::L6>();
    case ElementFormat::L5:
      return with_format.template operator()<ElementFormat::L5>();
    case ElementFormat::L4:
      return with_format.template operator()<ElementFormat::L4>();
    case ElementFormat::L3:
      return with_format.template operator()<ElementFormat::L3>();
    case ElementFormat::L2:
      return with_format.template operator()<ElementFormat::L2>();
    case ElementFormat::L1:
      return with_format.template operator()<ElementFormat::L1>();
    default:
      std::abort();  // no levels
  }
}

}  // namespace

void score_levels_vnni(std::size_t rows, const KeyRun& run, const std::byte* block,
                       const LevelQueryBytes& queries, const float* start, float* scores) {
  specialize(run.format, rows, [&]<ElementFormat kFormat, std::size_t kRows>() {
    score<kFormat, kRows>(run, block, queries, start, scores);
  });
}

void weigh_levels_vnni(std::size_t rows, const BlockLayout& layout, const std::byte* block,
                       const float* weights, const float* factor, std::size_t stride, float* out) {
  specialize(layout.value_format, rows, [&]<ElementFormat kFormat, std::size_t kRows>() {
    weigh<kFormat, kRows>(layout, block, weights, factor, stride, out);
  });
}

}  // namespace thinkey

#else  // never called where cpu_multiplies_quads() is false

namespace thinkey {

void score_levels_vnni(std::size_t, const KeyRun&, const std::byte*, const LevelQueryBytes&, const float*,
                       float*) {
  std::abort();
}
void weigh_levels_vnni(std::size_t, const BlockLayout&, const std::byte*, const float*, const float*,
                       std::size_t, float*) {
  std::abort();
}

}  // namespace thinkey

#endif
