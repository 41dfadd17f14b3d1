#include "backend/cpu/store/block_quads_vnni.h"

#include <cstdlib>

#if defined(__x86_64__)
#include <algorithm>
#include <cstdint>

#include "backend/cpu/store/quads_vnni-inl.h"

namespace thinkey {
namespace {

using namespace vnni;

constexpr std::size_t kMostQuads = kMaxChannels / 4;

// Codes of 8 bits meet factors of more than 8, in two halves, the upper ones first.
template <ElementFormat kFormat>
constexpr std::size_t kPartsOf = kFormat == ElementFormat::Q8 ? 2 : 1;

// ---- Keys. A vector of 16 numbers is 4 / kRows quads of kRows rows.

// Numbers of consecutive channels, spread over a vector's rows.
template <std::size_t kRows>
THINKEY_VNNI_INLINE __m512 spread_channels(const float* channels) {
  if constexpr (kRows == 4) return _mm512_broadcast_f32x4(_mm_loadu_ps(channels));
  if constexpr (kRows == 1) return _mm512_loadu_ps(channels);
  const __m512 eight = _mm512_castps256_ps512(_mm256_loadu_ps(channels));
  return _mm512_shuffle_f32x4(eight, eight, _MM_SHUFFLE(1, 1, 0, 0));
}

struct Larger {
  static THINKEY_VNNI_INLINE __m512 of(__m512 a, __m512 b) { return _mm512_max_ps(a, b); }
};
struct Sum {
  static THINKEY_VNNI_INLINE __m512 of(__m512 a, __m512 b) { return _mm512_add_ps(a, b); }
};

// Every lane: the largest number or the sum of all lanes of its row.
template <typename Join, std::size_t kRows>
THINKEY_VNNI_INLINE __m512 join_lanes(__m512 x) {
  x = Join::of(x, _mm512_permute_ps(x, _MM_SHUFFLE(2, 3, 0, 1)));
  x = Join::of(x, _mm512_permute_ps(x, _MM_SHUFFLE(1, 0, 3, 2)));
  if constexpr (kRows <= 2) x = Join::of(x, _mm512_shuffle_f32x4(x, x, _MM_SHUFFLE(1, 0, 3, 2)));
  if constexpr (kRows == 1) x = Join::of(x, _mm512_shuffle_f32x4(x, x, _MM_SHUFFLE(2, 3, 0, 1)));
  return x;
}

// A run's queries with the key scales folded in, as bytes: folded query = rounded * inverse.
template <ElementFormat kFormat, std::size_t kRows_>
struct ByteQueries {
  static constexpr std::size_t kRows = kRows_;
  static constexpr std::size_t kParts = kPartsOf<kFormat>;
  static constexpr bool kSigned = true;
  static constexpr std::size_t kVectors = kMostQuads * kRows / 4 + 4;
  alignas(64) std::int32_t rounded[kParts][4 * kVectors];
  alignas(64) float inverse[16];  // of row r: number 4 r
  alignas(64) float share[16];    // of centre and minima, likewise

  static constexpr std::size_t at(std::size_t quad, std::size_t r) {
    const std::size_t vector = quad * kRows / 4;
    const std::size_t lane = quad * kRows % 4 + r;
    return vector / 4 * 16 + lane * 4 + vector % 4;
  }

  // Codes of 4 and 2 bits are counted from the middle of their range, which keeps the queries' rounding
  // small.
  THINKEY_VNNI_INLINE ByteQueries(const KeyRun& run, const std::byte* block, const float* q) {
    constexpr int kCentre = kFormat == ElementFormat::Q8 ? 0 : 1 << (element_bits(kFormat) - 1);
    constexpr float kMost = kParts == 2 ? 16380.0F : 127.0F;
    const __m512 centre = _mm512_set1_ps(kCentre);
    const auto* scales = BlockLayout::at<f16_bits>(block, run.scales);
    alignas(64) float scale[kMaxChannels + 64];
    alignas(64) float offset[kMaxChannels + 64];
    for (std::size_t c = 0; c < run.channels; c += 16) {
      _mm512_store_ps(scale + c, load_f16(scales + c));
    }
    for (std::size_t c = 0; c < run.channels; c += 16) {  // after all scales: in the order of memory
      const __m512 minima = load_f16(scales + run.channels + c);
      _mm512_store_ps(offset + c, _mm512_fmadd_ps(centre, _mm512_load_ps(scale + c), minima));
    }
    // Past the last scale lie the minima, past the last minimum the codes.
    for (std::size_t i = 0; i < 64 / kRows; i += 16) {
      _mm512_storeu_ps(scale + run.channels + i, _mm512_setzero_ps());
      _mm512_storeu_ps(offset + run.channels + i, _mm512_setzero_ps());
    }

    // Two sums of each kind, because they take longer than what is added.
    alignas(64) __m512 folded[kVectors];
    const std::size_t vectors = (run.query_numbers() * kRows + 63) / 64 * 4;
    __m512 largest[2] = {_mm512_setzero_ps(), _mm512_setzero_ps()};
    __m512 offsets[2] = {_mm512_setzero_ps(), _mm512_setzero_ps()};
    for (std::size_t i = 0; i < vectors; i += 2) {
#pragma GCC unroll 2
      for (std::size_t j = 0; j < 2; ++j) {
        const std::size_t channel = 16 / kRows * (i + j);
        const __m512 x = _mm512_loadu_ps(q + 16 * (i + j));
        folded[i + j] = _mm512_mul_ps(x, spread_channels<kRows>(scale + channel));
        offsets[j] = _mm512_fmadd_ps(x, spread_channels<kRows>(offset + channel), offsets[j]);
        largest[j] = _mm512_max_ps(largest[j], _mm512_abs_ps(folded[i + j]));
      }
    }
    const __m512 most = join_lanes<Larger, kRows>(_mm512_max_ps(largest[0], largest[1]));
    const Unit unit(_mm512_mul_ps(most, _mm512_set1_ps(1.0F / kMost)));
    __m512i totals[2] = {_mm512_setzero_si512(), _mm512_setzero_si512()};
    for (std::size_t i = 0; i < vectors; i += 4) {
      __m512i x[4];
#pragma GCC unroll 4
      for (std::size_t j = 0; j < 4; ++j) {
        x[j] = _mm512_cvtps_epi32(_mm512_mul_ps(folded[i + j], unit.factor));
        if constexpr (kCentre != 0) totals[j % 2] = _mm512_add_epi32(totals[j % 2], x[j]);
      }
      store_parts(x, *this, 4 * i);
    }
    __m512 shares = join_lanes<Sum, kRows>(_mm512_add_ps(offsets[0], offsets[1]));
    if constexpr (kCentre != 0) {  // what the centre's share has too much or too little for the rounding
      const __m512 total = _mm512_cvtepi32_ps(_mm512_add_epi32(totals[0], totals[1]));
      shares = _mm512_fnmadd_ps(_mm512_mul_ps(centre, unit.inverse), join_lanes<Sum, kRows>(total), shares);
    }
    _mm512_store_ps(inverse, unit.inverse);
    _mm512_store_ps(share, shares);
  }
};

template <ElementFormat kFormat, std::size_t kRows>
THINKEY_VNNI void score(const KeyRun& run, const std::byte* block, const float* q, const float* start,
                        bool first, float* scores) {
  const ByteQueries<kFormat, kRows> queries(run, block, q);
  ByteQuadSums<ByteQueries<kFormat, kRows>> sums;
  const std::byte* row = block + run.rows;
  const std::size_t quads = run.channels / 4;
  std::size_t quad = 0;
  for (; quad + 4 <= quads; quad += 4, row += 4 * run.row) {
#pragma GCC unroll 4
    for (std::size_t i = 0; i < 4; ++i) sums.add(load_quads<kFormat>(row + i * run.row), queries, quad + i);
  }
  for (; quad < quads; ++quad, row += run.row) sums.add(load_quads<kFormat>(row), queries, quad);
  if (run.channels % 4 != 0) sums.add(load_lone<kFormat>(row, run.channels % 4), queries, quad);
#pragma GCC unroll 8
  for (std::size_t r = 0; r < kRows; ++r) {
    const __m512 from = _mm512_set1_ps(start[r] + queries.share[4 * r]);
    const __m512 inverse = _mm512_set1_ps(queries.inverse[4 * r]);
#pragma GCC unroll 8
    for (std::size_t half = 0; half < 2; ++half) {
      float* at = scores + r * kBlockTokens + 16 * half;
      const __m512 before = first ? from : _mm512_add_ps(from, _mm512_loadu_ps(at));
      _mm512_storeu_ps(at, _mm512_fmadd_ps(sums.total(r, half), inverse, before));
    }
  }
}

// ---- Values.

// The largest numbers of kRows vectors, that of vector r in lanes 4 r .. 4 r + 3.
template <std::size_t kRows>
THINKEY_VNNI_INLINE __m512 largest_of_each(const __m512* x) {
  if constexpr (kRows == 1) return _mm512_set1_ps(_mm512_reduce_max_ps(x[0]));
  if constexpr (kRows == 2) {
    return _mm512_mask_blend_ps(0x00f0, _mm512_set1_ps(_mm512_reduce_max_ps(x[0])),
                                _mm512_set1_ps(_mm512_reduce_max_ps(x[kRows - 1])));
  }
  __m512 halves[2];
#pragma GCC unroll 2
  for (std::size_t i = 0; i < 2; ++i) {
    const __m512* pair = x + 2 * i % kRows;
    halves[i] = _mm512_max_ps(_mm512_shuffle_f32x4(pair[0], pair[1], _MM_SHUFFLE(1, 0, 1, 0)),
                              _mm512_shuffle_f32x4(pair[0], pair[1], _MM_SHUFFLE(3, 2, 3, 2)));
  }
  return join_lanes<Larger, 4>(
      _mm512_max_ps(_mm512_shuffle_f32x4(halves[0], halves[1], _MM_SHUFFLE(2, 0, 2, 0)),
                    _mm512_shuffle_f32x4(halves[0], halves[1], _MM_SHUFFLE(3, 1, 3, 1))));
}

// A block's weights with a value group's scales folded in, as bytes: folded weight = rounded * inverse.
template <ElementFormat kFormat, std::size_t kRows_>
struct ByteWeights {
  static constexpr std::size_t kRows = kRows_;
  static constexpr std::size_t kParts = kPartsOf<kFormat>;
  static constexpr bool kSigned = false;
  alignas(64) std::int32_t rounded[kParts][(kRows + 1) / 2 * 16];
  alignas(64) float inverse[16];  // of row r: number 4 r

  static constexpr std::size_t at(std::size_t quad, std::size_t r) {
    return r / 2 * 16 + quad % 4 * 4 + r % 2 * 2 + quad / 4;
  }

  // scales: the group's, then its minima. Codes of 8 bits are counted from 128, as signed bytes; offsets
  // [kRows][16] gain the share of that and of the minima.
  THINKEY_VNNI_INLINE void fold(const f16_bits* scales, const float* weights, const float* factor,
                                float* offsets) {
    constexpr float kCentre = kFormat == ElementFormat::Q8 ? 128.0F : 0.0F;
    constexpr float kMost = kParts == 2 ? 65500.0F : 255.0F;
    const __m512 s[2] = {load_f16(scales), load_f16(scales + 16)};
    __m512 m[2] = {load_f16(scales + kBlockTokens), load_f16(scales + kBlockTokens + 16)};
    if constexpr (kCentre > 0.0F) {
      m[0] = _mm512_fmadd_ps(_mm512_set1_ps(kCentre), s[0], m[0]);
      m[1] = _mm512_fmadd_ps(_mm512_set1_ps(kCentre), s[1], m[1]);
    }
    __m512 folded[kRows][2];
    __m512 largest[kRows];
#pragma GCC unroll 8
    for (std::size_t r = 0; r < kRows; ++r) {
      const __m512 w[2] = {_mm512_loadu_ps(weights + r * kBlockTokens),
                           _mm512_loadu_ps(weights + r * kBlockTokens + 16)};
      __m512 sum = _mm512_mul_ps(_mm512_load_ps(offsets + r * 16), _mm512_set1_ps(factor[r]));
      sum = _mm512_fmadd_ps(w[0], m[0], sum);
      _mm512_store_ps(offsets + r * 16, _mm512_fmadd_ps(w[1], m[1], sum));
      folded[r][0] = _mm512_mul_ps(w[0], s[0]);
      folded[r][1] = _mm512_mul_ps(w[1], s[1]);
      largest[r] = _mm512_max_ps(folded[r][0], folded[r][1]);
    }
    const Unit unit(_mm512_mul_ps(largest_of_each<kRows>(largest), _mm512_set1_ps(1.0F / kMost)));
    _mm512_store_ps(inverse, unit.inverse);
    alignas(64) float factors[16];
    _mm512_store_ps(factors, unit.factor);
#pragma GCC unroll 8
    for (std::size_t first = 0; first < kRows; first += 2) {
      __m512i x[4];
#pragma GCC unroll 4
      for (std::size_t i = 0; i < 4; ++i) {
        const std::size_t r = std::min(first + i / 2, kRows - 1);
        x[i] = _mm512_cvtps_epi32(_mm512_mul_ps(folded[r][i % 2], _mm512_set1_ps(factors[4 * r])));
      }
      store_parts(x, *this, 8 * first);
    }
  }
};

// out[r] = out[r] * factor[r] + weights[r] . a unit of 32 channels. Places without a token hold zeros.
template <ElementFormat kFormat, std::size_t kRows>
THINKEY_VNNI_INLINE void weigh_unit(const std::byte* row, std::size_t row_bytes,
                                    const ByteWeights<kFormat, kRows>& weights, const float* factor,
                                    std::size_t stride, float* out) {
  ByteQuadSums<ByteWeights<kFormat, kRows>> sums;
#pragma GCC unroll 8
  for (std::size_t quad = 0; quad < kBlockTokens / 4; ++quad, row += row_bytes) {
    Quads quads = load_quads<kFormat>(row);
    if constexpr (kFormat == ElementFormat::Q8) {
      quads.low = _mm512_xor_si512(quads.low, _mm512_set1_epi8(-128));
      quads.high = _mm512_xor_si512(quads.high, _mm512_set1_epi8(-128));
    }
    sums.add(quads, weights, quad);
  }
#pragma GCC unroll 8
  for (std::size_t r = 0; r < kRows; ++r) {
    const __m512 f = _mm512_set1_ps(factor[r]);
    const __m512 inverse = _mm512_set1_ps(weights.inverse[4 * r]);
#pragma GCC unroll 8
    for (std::size_t half = 0; half < 2; ++half) {
      float* at = out + r * stride + 16 * half;
      const __m512 before = _mm512_mul_ps(f, _mm512_loadu_ps(at));
      _mm512_storeu_ps(at, _mm512_fmadd_ps(sums.total(r, half), inverse, before));
    }
  }
}

template <ElementFormat kFormat, std::size_t kRows>
THINKEY_VNNI void weigh(const BlockLayout& layout, const std::byte* block, const float* weights,
                        const float* factor, float* offsets, std::size_t stride, float* out) {
  // All groups' weights first: each takes a chain of dependent steps, which then run side by side.
  ByteWeights<kFormat, kRows> folded[kMaxChannels / kUnit];
  const std::size_t groups = layout.value_groups();
  const auto* scales = BlockLayout::at<f16_bits>(block, layout.value_scales);
  for (std::size_t group = 0; group < groups; ++group) {
    folded[group].fold(scales + 2 * group * kBlockTokens, weights, factor, offsets + group * kRows * 16);
  }
  const std::size_t units_per_group = layout.value_group / kUnit;
  const ByteWeights<kFormat, kRows>* group = folded;
  std::size_t left = units_per_group;
  for (std::size_t unit = 0; unit < layout.value_units(); ++unit, --left) {
    if (left == 0) {
      left = units_per_group;
      ++group;
    }
    const std::size_t first = unit * kUnit;
    weigh_unit<kFormat, kRows>(block + layout.values_at(first), 4 * layout.value_lanes(first), *group, factor,
                               stride, out + first);
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
    case ElementFormat::Q8:
      return with_format.template operator()<ElementFormat::Q8>();
    case ElementFormat::Q4:
      return with_format.template operator()<ElementFormat::Q4>();
    case ElementFormat::Q2:
      return with_format.template operator()<ElementFormat::Q2>();
    default:
      std::abort();  // no codes
  }
}

}  // namespace

bool cpu_multiplies_quads() noexcept {
  static const bool supported =
      __builtin_cpu_supports("avx512vnni") != 0 && __builtin_cpu_supports("avx512bw") != 0 &&
      __builtin_cpu_supports("avx512vl") != 0 && __builtin_cpu_supports("avx512dq") != 0;
  return supported;
}

void score_quads_vnni(std::size_t rows, const KeyRun& run, const std::byte* block, const float* q,
                      const float* start, bool first, float* scores) {
  specialize(run.format, rows, [&]<ElementFormat kFormat, std::size_t kRows>() {
    score<kFormat, kRows>(run, block, q, start, first, scores);
  });
}

void weigh_quads_vnni(std::size_t rows, const BlockLayout& layout, const std::byte* block,
                      const float* weights, const float* factor, float* offsets, std::size_t stride,
                      float* out) {
  specialize(layout.value_format, rows, [&]<ElementFormat kFormat, std::size_t kRows>() {
    weigh<kFormat, kRows>(layout, block, weights, factor, offsets, stride, out);
  });
}

}  // namespace thinkey

#else  // never called where cpu_multiplies_quads() is false

namespace thinkey {

bool cpu_multiplies_quads() noexcept { return false; }
void score_quads_vnni(std::size_t, const KeyRun&, const std::byte*, const float*, const float*, bool,
                      float*) {
  std::abort();
}
void weigh_quads_vnni(std::size_t, const BlockLayout&, const std::byte*, const float*, const float*, float*,
                      std::size_t, float*) {
  std::abort();
}

}  // namespace thinkey

#endif
