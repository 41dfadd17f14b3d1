// Products with packed matrices.
#include "backend/cpu/ops/packed_formats.h"

#if defined(__x86_64__)

#include <algorithm>
#include <cstring>

#include "backend/cpu/ops/vnni-inl.h"

namespace thinkey {
namespace {

constexpr std::size_t kQuads = kInt8Block / 4;  // of 4 columns, in a block of 32

// Volatile: else compilers read a line again for each use, and lines out of order.
THINKEY_VNNI_INLINE __m512i load_codes(const std::uint8_t* p) {
  return *reinterpret_cast<const volatile __m512i*>(p);
}
THINKEY_VNNI_INLINE __m512 load_halves(const std::uint8_t* p) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
THINKEY_VNNI_INLINE __m512i all_lanes(const std::int8_t* quad) {
  std::int32_t four;
  std::memcpy(&four, quad, sizeof(four));
  return _mm512_set1_epi32(four);
}

// 0xF8: a | (b & c).
constexpr int kOrAnd = 0xF8;

// The table in each quarter of a vector.
template <typename P>
THINKEY_VNNI_INLINE __m512i code_table() {
  return _mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i*>(P::kTable.data())));
}

// Codes of quads i and i + 1 (i is even) of a pair: of the first block, and of the second.
template <typename P>
THINKEY_VNNI_INLINE void pair_codes(const std::uint8_t* pair, std::size_t i, __m512i (&out)[2][2]) {
  if constexpr (P::kBits == 8) {
    for (std::size_t q = 0; q < 2; ++q) {
      for (std::size_t side = 0; side < 2; ++side) {
        out[q][side] = load_codes(pair + 64 * (2 * (i + q) + side));
      }
    }
    return;
  }
  if constexpr (P::kBits < 4) {
    const __m512i two_bits = _mm512_set1_epi8(0x03);
    const __m512i all = load_codes(pair + P::bit_pairs_at(i));
    out[0][0] = _mm512_and_si512(all, two_bits);
    out[0][1] = _mm512_and_si512(_mm512_srli_epi16(all, 2), two_bits);
    out[1][0] = _mm512_and_si512(_mm512_srli_epi16(all, 4), two_bits);
    out[1][1] = _mm512_and_si512(_mm512_srli_epi16(all, 6), two_bits);
  } else {
    const __m512i nibble = _mm512_set1_epi8(0x0F);
    __m512i both[2];
    both[0] = load_codes(pair + P::nibbles_at(i));
    __m512i upper;
    if constexpr (P::kBits == 6) upper = load_codes(pair + P::upper_at(i));
    both[1] = load_codes(pair + P::nibbles_at(i + 1));
    for (std::size_t q = 0; q < 2; ++q) {
      out[q][0] = _mm512_and_si512(both[q], nibble);
      out[q][1] = _mm512_and_si512(_mm512_srli_epi16(both[q], 4), nibble);
    }
    if constexpr (P::kBits == 6) {
      const __m512i upper_pair = _mm512_set1_epi8(0x30);
      out[0][0] = _mm512_ternarylogic_epi64(out[0][0], _mm512_slli_epi16(upper, 4), upper_pair, kOrAnd);
      out[0][1] = _mm512_ternarylogic_epi64(out[0][1], _mm512_slli_epi16(upper, 2), upper_pair, kOrAnd);
      out[1][0] = _mm512_ternarylogic_epi64(out[1][0], upper, upper_pair, kOrAnd);
      out[1][1] = _mm512_ternarylogic_epi64(out[1][1], _mm512_srli_epi16(upper, 2), upper_pair, kOrAnd);
    }
  }
  for (std::size_t q = 0; q < 2; ++q) {
    for (std::size_t side = 0; side < 2; ++side) {
      __m512i& codes = out[q][side];
      if constexpr (P::kMaskBytes != 0) {
        std::uint64_t top;
        std::memcpy(&top, pair + 8 * (2 * (i + q) + side), sizeof(top));
        codes = _mm512_mask_add_epi8(codes, top, codes, _mm512_set1_epi8(1 << (P::kBits - 1)));
      }
      if constexpr (!P::kTable.empty()) codes = _mm512_shuffle_epi8(code_table<P>(), codes);
    }
  }
}

// Scale (kind 0) or minimum (kind 1) number `sub` of the 16 rows, without d.
template <typename P>
THINKEY_VNNI_INLINE __m512 row_scales(const std::uint8_t* group, std::size_t kind, std::size_t sub) {
  const std::uint8_t* scales = group + P::scales_at(sub, kind);
  if constexpr (P::kScale == PackedScale::F16) return load_halves(scales);
  const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(scales));
  if constexpr (P::kScale == PackedScale::Exponents) return mxfp4_scales(_mm512_cvtepu8_epi32(bytes));
  return _mm512_cvtepi32_ps(P::kMinimum ? _mm512_cvtepu8_epi32(bytes) : _mm512_cvtepi8_epi32(bytes));
}

// One panel times kBatch vectors: 16 lanes of y each.
template <typename P, std::size_t kBatch>
THINKEY_VNNI_INLINE void multiply_panel(const std::uint8_t* group, std::size_t groups,
                                        const Int8Group* const* x, __m512 (&y)[kBatch]) {
  constexpr std::size_t kParts = kInt8Block / P::kSubColumns;  // sub-blocks of a block of 32
  constexpr std::size_t kPartQuads = kQuads / kParts;
  for (__m512& sum : y) sum = _mm512_setzero_ps();
  for (std::size_t g = 0; g < groups; ++g, group += P::kGroupBytes) {
    __m512 scaled[kBatch];
    __m512 minima[kBatch];
    for (std::size_t b = 0; b < kBatch; ++b) scaled[b] = minima[b] = _mm512_setzero_ps();
#pragma GCC unroll 4
    for (std::size_t j = 0; j < 4; ++j) {
      const std::uint8_t* pair = group + P::pair_at(j);
      __m512i sums[kParts][kBatch][2];
#pragma GCC unroll 2
      for (std::size_t part = 0; part < kParts; ++part) {
#pragma GCC unroll 4
        for (std::size_t b = 0; b < kBatch; ++b) {
#pragma GCC unroll 2
          for (std::size_t side = 0; side < 2; ++side) {  // what the offset of the codes adds, taken back
            const std::size_t block = 2 * j + side;
            const std::int32_t code_sum =
                kParts == 1 ? x[b][g].code_sums[block] : x[b][g].half_code_sums[2 * block + part];
            sums[part][b][side] =
                P::kOffset == 0 ? _mm512_setzero_si512() : _mm512_set1_epi32(-P::kOffset * code_sum);
          }
        }
#pragma GCC unroll 4
        for (std::size_t i = part * kPartQuads; i < (part + 1) * kPartQuads; i += 2) {
          __m512i codes[2][2];
          pair_codes<P>(pair, i, codes);
#pragma GCC unroll 4
          for (std::size_t b = 0; b < kBatch; ++b) {
#pragma GCC unroll 2
            for (std::size_t q = 0; q < 2; ++q) {
#pragma GCC unroll 2
              for (std::size_t side = 0; side < 2; ++side) {
                const std::int8_t* quad = x[b][g].codes + kInt8Block * (2 * j + side) + 4 * (i + q);
                sums[part][b][side] =
                    _mm512_dpbusd_epi32(sums[part][b][side], codes[q][side], all_lanes(quad));
              }
            }
          }
        }
      }
#pragma GCC unroll 2
      for (std::size_t part = 0; part < kParts; ++part) {
#pragma GCC unroll 2
        for (std::size_t side = 0; side < 2; ++side) {
          const std::size_t block = 2 * j + side;
          const std::size_t sub = kParts * block + part;
          const __m512 scale = row_scales<P>(group, 0, sub);
#pragma GCC unroll 4
          for (std::size_t b = 0; b < kBatch; ++b) {
            const __m512 factor = _mm512_mul_ps(scale, _mm512_set1_ps(x[b][g].scales[block]));
            scaled[b] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sums[part][b][side]), factor, scaled[b]);
          }
          if constexpr (P::kMinimum) {
            const __m512 minimum = row_scales<P>(group, 1, sub);
#pragma GCC unroll 4
            for (std::size_t b = 0; b < kBatch; ++b) {
              const float sum = kParts == 1 ? x[b][g].sums[block] : x[b][g].half_sums[2 * block + part];
              minima[b] = _mm512_fmadd_ps(minimum, _mm512_set1_ps(sum), minima[b]);
            }
          }
        }
      }
    }
    for (std::size_t b = 0; b < kBatch; ++b) {
      if constexpr (P::kSuper) {
        __m512 d = load_halves(group + P::kSuperAt);
        if constexpr (P::kUnit != 1) d = _mm512_mul_ps(d, _mm512_set1_ps(P::kUnit));
        y[b] = _mm512_fmadd_ps(scaled[b], d, y[b]);
        if constexpr (P::kMinimum) {
          y[b] = _mm512_fnmadd_ps(minima[b], load_halves(group + P::kSuperAt + 2 * kPackedPanel), y[b]);
        }
      } else {
        y[b] = _mm512_add_ps(y[b], _mm512_add_ps(scaled[b], minima[b]));
      }
    }
  }
}

// y of vectors [b0, b0 + kBatch), panel by panel through whole rows: one stream, even where the vectors then
// come from the second-level cache.
template <typename P, std::size_t kBatch>
THINKEY_VNNI void multiply_panels(const Int8Rows& job, std::size_t b0) {
  const std::size_t groups = (job.cols + kInt8Group - 1) / kInt8Group;
  const Int8Group* x[kBatch];
  for (std::size_t b = 0; b < kBatch; ++b) x[b] = job.x + (b0 + b) * groups;
  const std::uint8_t* panel = job.weights;
  for (std::size_t r0 = 0; r0 < job.rows; r0 += kPackedPanel, panel += groups * P::kGroupBytes) {
    __m512 y[kBatch];
    multiply_panel<P, kBatch>(panel, groups, x, y);
    const std::size_t rows = std::min(kPackedPanel, job.rows - r0);
    const auto lanes = static_cast<__mmask16>((1U << rows) - 1U);
    for (std::size_t b = 0; b < kBatch; ++b) {
      _mm512_mask_storeu_ps(job.y + (b0 + b) * job.y_stride + r0, lanes, y[b]);
    }
  }
}

template <typename P>
void multiply_all(const Int8Rows& job) {
  std::size_t b = 0;
  for (; P::kBits != 4 && b + 4 <= job.batch; b += 4) multiply_panels<P, 4>(job, b);
  for (; b + 2 <= job.batch; b += 2) multiply_panels<P, 2>(job, b);
  if (b < job.batch) multiply_panels<P, 1>(job, b);
}

}  // namespace

void multiply_packed(const Int8Rows& job) {
  visit_tensor_type(job.type, [&]<TensorType kType>() {
    if constexpr (!is_plain(kType)) multiply_all<PackedFormat<kType>>(job);
  });
}

}  // namespace thinkey

#else

namespace thinkey {

void multiply_packed(const Int8Rows& /*job*/) {}

}  // namespace thinkey

#endif
