#include "backend/cpu/ops/attention_rows_bf16.h"

#include <cstdint>
#include <cstdlib>

#if defined(__x86_64__)
#include <immintrin.h>

#include "backend/cpu/ops/matmul.h"

// Highway 1.0 has no name for these instructions on our targets, hence intrinsics.
#define THINKEY_BF16 __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")))
#define THINKEY_BF16_INLINE THINKEY_BF16 inline __attribute__((always_inline))

namespace thinkey {
namespace {

using Pair = std::uint32_t;  // two bf16 numbers
constexpr std::size_t kLanes = kAttentionLanes;

const Pair* pairs(const bf16_bits* x) { return reinterpret_cast<const Pair*>(x); }

// 16 x 16 numbers of 32 bits, rows `stride` apart, of which `columns` exist; out [columns][out_stride].
THINKEY_BF16 void transpose(const Pair* from, std::size_t stride, std::size_t columns, Pair* to,
                            std::size_t to_stride) {
  const auto mask = static_cast<__mmask16>(columns >= 16 ? 0xFFFFU : (1U << columns) - 1U);
  __m512i r[16];
  __m512i t[16];
#pragma GCC unroll 16
  for (std::size_t i = 0; i < 16; ++i) r[i] = _mm512_maskz_loadu_epi32(mask, from + i * stride);
#pragma GCC unroll 8
  for (std::size_t i = 0; i < 16; i += 2) {
    t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
    t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
  }
#pragma GCC unroll 4
  for (std::size_t i = 0; i < 16; i += 4) {
    r[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
    r[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
    r[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
    r[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
  }
  // r[4 g + j] holds column 4 k + j of rows 4 g .. 4 g + 3 in its k-th quarter.
#pragma GCC unroll 4
  for (std::size_t j = 0; j < 4; ++j) {
    const __m512i low01 = _mm512_shuffle_i32x4(r[j], r[4 + j], 0x88);
    const __m512i low23 = _mm512_shuffle_i32x4(r[8 + j], r[12 + j], 0x88);
    const __m512i high01 = _mm512_shuffle_i32x4(r[j], r[4 + j], 0xDD);
    const __m512i high23 = _mm512_shuffle_i32x4(r[8 + j], r[12 + j], 0xDD);
    t[j] = _mm512_shuffle_i32x4(low01, low23, 0x88);
    t[8 + j] = _mm512_shuffle_i32x4(low01, low23, 0xDD);
    t[4 + j] = _mm512_shuffle_i32x4(high01, high23, 0x88);
    t[12 + j] = _mm512_shuffle_i32x4(high01, high23, 0xDD);
  }
  for (std::size_t i = 0; i < columns; ++i) _mm512_storeu_si512(to + i * to_stride, t[i]);
}

THINKEY_BF16_INLINE __m512 multiply_add(__m512 sum, __m512i pairs_of_lanes, Pair factor) {
  return _mm512_dpbf16_ps(sum, (__m512bh)_mm512_set1_epi32(static_cast<int>(factor)),
                          (__m512bh)pairs_of_lanes);
}

// sums[r][v] += sum over i in [0, n) of factors[r * factor_stride + i] times row i of `rows`, kVectors
// vectors at the start of every `row_stride` pairs.
template <std::size_t kVectors>
THINKEY_BF16_INLINE void multiply_rows(const Pair* factors, std::size_t factor_stride, const Pair* rows,
                                       std::size_t row_stride, std::size_t n,
                                       __m512 (&sums)[kAttentionRows][kVectors]) {
  for (std::size_t i = 0; i < n; ++i, rows += row_stride) {
    __m512i lanes[kVectors];
#pragma GCC unroll 4
    for (std::size_t v = 0; v < kVectors; ++v) lanes[v] = _mm512_loadu_si512(rows + v * kLanes);
#pragma GCC unroll 6
    for (std::size_t r = 0; r < kAttentionRows; ++r) {
      const Pair factor = factors[r * factor_stride + i];
#pragma GCC unroll 4
      for (std::size_t v = 0; v < kVectors; ++v) sums[r][v] = multiply_add(sums[r][v], lanes[v], factor);
    }
  }
}

// kVectors vectors of channels of the output, the last one perhaps cut off.
template <std::size_t kVectors>
THINKEY_BF16 void weigh_channels(const Pair* weights, std::size_t weight_stride, const Pair* values,
                                 std::size_t value_stride, std::size_t n, std::size_t channels,
                                 std::size_t head_dim, float* output) {
  __mmask16 mask[kVectors];
#pragma GCC unroll 4
  for (std::size_t v = 0; v < kVectors; ++v) {
    const std::size_t left = channels > v * kLanes ? channels - v * kLanes : 0;
    mask[v] = static_cast<__mmask16>(left >= kLanes ? 0xFFFFU : (1U << left) - 1U);
  }
  __m512 sums[kAttentionRows][kVectors];
#pragma GCC unroll 6
  for (std::size_t r = 0; r < kAttentionRows; ++r) {
#pragma GCC unroll 4
    for (std::size_t v = 0; v < kVectors; ++v) {
      sums[r][v] = _mm512_maskz_loadu_ps(mask[v], output + r * head_dim + v * kLanes);
    }
  }
  multiply_rows<kVectors>(weights, weight_stride, values, value_stride, n, sums);
#pragma GCC unroll 6
  for (std::size_t r = 0; r < kAttentionRows; ++r) {
#pragma GCC unroll 4
    for (std::size_t v = 0; v < kVectors; ++v) {
      _mm512_mask_storeu_ps(output + r * head_dim + v * kLanes, mask[v], sums[r][v]);
    }
  }
}

}  // namespace

bool cpu_multiplies_attention_rows() noexcept {
  static const bool supported =
      __builtin_cpu_supports("avx512bf16") != 0 && __builtin_cpu_supports("avx512bw") != 0 &&
      __builtin_cpu_supports("avx512vl") != 0 && __builtin_cpu_supports("avx512dq") != 0 && !cpu_has_amx();
  return supported;
}

THINKEY_BF16 void pack_attention_keys(const bf16_bits* keys, std::size_t width, std::size_t head_dim,
                                      bf16_bits* packed) {
  const std::size_t depth = head_dim / 2;
  for (std::size_t t = 0; t < width; t += 16) {
    Pair* to =
        reinterpret_cast<Pair*>(packed) + t / kAttentionKeys * kAttentionKeys * depth + t % kAttentionKeys;
    for (std::size_t c = 0; c < depth; c += 16) {
      transpose(pairs(keys + t * head_dim) + c, depth, depth - c < 16 ? depth - c : 16,
                to + c * kAttentionKeys, kAttentionKeys);
    }
  }
}

THINKEY_BF16 void pack_attention_values(const bf16_bits* values, std::size_t width, std::size_t head_dim,
                                        bf16_bits* packed) {
  const std::size_t channels = packed_value_channels(head_dim);
  for (std::size_t t = 0; t < width; t += 2) {
    const bf16_bits* even = values + t * head_dim;
    auto* to = reinterpret_cast<Pair*>(packed) + t / 2 * channels;
    for (std::size_t c = 0; c < channels; c += kLanes) {
      const std::size_t left = head_dim - c;
      const auto mask = static_cast<__mmask16>(left >= kLanes ? 0xFFFFU : (1U << left) - 1U);
      const __m512i low = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, integers(even + c)));
      const __m512i high =
          _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, integers(even + head_dim + c)));
      _mm512_storeu_si512(to + c, _mm512_or_si512(low, _mm512_slli_epi32(high, 16)));
    }
  }
}

THINKEY_BF16 void score_attention_rows(const bf16_bits* q, const bf16_bits* packed_keys, std::size_t begin,
                                       std::size_t end, std::size_t head_dim, std::size_t stride,
                                       float* scores) {
  constexpr std::size_t kVectors = kAttentionKeys / kLanes;
  const std::size_t depth = head_dim / 2;
  for (std::size_t key = begin; key < end; key += kAttentionKeys) {
    __m512 sums[kAttentionRows][kVectors];
#pragma GCC unroll 6
    for (auto& row : sums) {
#pragma GCC unroll 4
      for (__m512& sum : row) sum = _mm512_setzero_ps();
    }
    multiply_rows<kVectors>(pairs(q), depth, pairs(packed_keys) + key * depth, kAttentionKeys, depth, sums);
#pragma GCC unroll 6
    for (std::size_t r = 0; r < kAttentionRows; ++r) {
#pragma GCC unroll 4
      for (std::size_t v = 0; v < kVectors; ++v) {
        _mm512_storeu_ps(scores + r * stride + key + v * kLanes, sums[r][v]);
      }
    }
  }
}

THINKEY_BF16 void weigh_attention_rows(const bf16_bits* weights, std::size_t stride,
                                       const bf16_bits* packed_values, std::size_t begin, std::size_t end,
                                       std::size_t head_dim, float* output) {
  const std::size_t packed_channels = packed_value_channels(head_dim);
  const Pair* w = pairs(weights) + begin / 2;
  const Pair* rows = pairs(packed_values) + begin / 2 * packed_channels;
  const std::size_t n = (end - begin) / 2;
  for (std::size_t c = 0; c < head_dim; c += 4 * kLanes) {
    const std::size_t left = head_dim - c;
    switch ((left + kLanes - 1) / kLanes) {
      case 1:
        weigh_channels<1>(w, stride / 2, rows + c, packed_channels, n, left, head_dim, output + c);
        break;
      case 2:
        weigh_channels<2>(w, stride / 2, rows + c, packed_channels, n, left, head_dim, output + c);
        break;
      case 3:
        weigh_channels<3>(w, stride / 2, rows + c, packed_channels, n, left, head_dim, output + c);
        break;
      default:
        weigh_channels<4>(w, stride / 2, rows + c, packed_channels, n, left, head_dim, output + c);
        break;
    }
  }
}

}  // namespace thinkey

#else  // never called where cpu_multiplies_attention_rows() is false

namespace thinkey {

bool cpu_multiplies_attention_rows() noexcept { return false; }
void pack_attention_keys(const bf16_bits*, std::size_t, std::size_t, bf16_bits*) { std::abort(); }
void pack_attention_values(const bf16_bits*, std::size_t, std::size_t, bf16_bits*) { std::abort(); }
void score_attention_rows(const bf16_bits*, const bf16_bits*, std::size_t, std::size_t, std::size_t,
                          std::size_t, float*) {
  std::abort();
}
void weigh_attention_rows(const bf16_bits*, std::size_t, const bf16_bits*, std::size_t, std::size_t,
                          std::size_t, float*) {
  std::abort();
}

}  // namespace thinkey

#endif
