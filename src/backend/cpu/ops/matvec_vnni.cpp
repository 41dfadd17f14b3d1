#include "backend/cpu/ops/matvec_int8.h"

#if defined(__x86_64__)

#include <algorithm>
#include <cfloat>
#include <limits>
#include <utility>

#include "backend/cpu/ops/vnni_codebook_formats-inl.h"
#include "backend/cpu/ops/vnni_formats-inl.h"

namespace thinkey {
namespace {

using namespace vnni;

// So many groups are summed up on their own, whatever the number of vectors: their sums are the same.
constexpr std::size_t kSumGroups = 12;
// Groups of the vectors that a slice of rows takes before the next ones: 24 KiB of the first-level cache.
template <std::size_t kBatch>
constexpr std::size_t kSliceGroups = 4 * kSumGroups / kBatch;
constexpr std::size_t kSliceRows = 16;

// Whole rows are one stream, which the CPU foresees by itself; asking a little ahead helps by up to 10 %,
// 2 KiB ahead costs a third of the rate. Slices jump from row to row, and many vectors get in the way of
// that foresight: then asking for the next row's bytes doubles the rate. An address past the matrix does
// no harm.
constexpr std::size_t kStreamDistance = 256;
constexpr std::size_t kStreamGroups = 32;

template <std::size_t kBytes>
THINKEY_VNNI_INLINE void prefetch_ahead(const std::uint8_t* group, std::size_t distance) {
  const auto later = reinterpret_cast<std::uintptr_t>(group) + distance;  // a pointer must stay in its array
  for (std::size_t line = 0; line < kBytes; line += 64) {
    // NOLINTNEXTLINE(performance-no-int-to-ptr)
    _mm_prefetch(reinterpret_cast<const char*>(later + line), _MM_HINT_T1);
  }
}

// Lane numbers that spread a group's factors over the products of its 64 weights number k: 4 lanes are
// 16 weights.
template <bool kSixteenths>
THINKEY_VNNI_INLINE __m512i spread(int k) {
  const __m512i quarters = _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
  return kSixteenths ? _mm512_add_epi32(quarters, _mm512_set1_epi32(4 * k))
                     : _mm512_add_epi32(_mm512_srli_epi32(quarters, 1), _mm512_set1_epi32(2 * k));
}

// A run of groups of one row.
struct Groups {
  const std::uint8_t* weights;
  std::size_t count;
  std::size_t prefetch_distance;
};

// What is multiplied with the sums of x: minima where a format has them, else the factors.
template <typename F>
THINKEY_VNNI_INLINE __m512 constants_of(const F& format, const std::uint8_t* group, __m512 factors) {
  if constexpr (requires { F::kMinima; }) return format.constants(group);
  return factors;
}

// Adds the products of a row's groups with those of each vector to sums, 16 lanes whose total counts.
template <TensorType kType, std::size_t kBatch>
THINKEY_VNNI_INLINE void multiply_groups(const Format<kType>& format, const Groups& groups,
                                         const Int8Group* const* x, __m512* sums) {
  using F = Format<kType>;
  const __m512i lanes[4] = {spread<F::kSixteenths>(0), spread<F::kSixteenths>(1), spread<F::kSixteenths>(2),
                            spread<F::kSixteenths>(3)};
  constexpr std::size_t kSums = 2;  // chains of additions are long
  __m512 sum[kBatch][kSums];
  __m512 constant[kBatch];
  for (std::size_t b = 0; b < kBatch; ++b) {
    for (__m512& part : sum[b]) part = _mm512_setzero_ps();
    constant[b] = _mm512_setzero_ps();
  }
  const std::uint8_t* group = groups.weights;
  for (std::size_t g = 0; g < groups.count; ++g, group += F::kBytes) {
    prefetch_ahead<F::kBytes>(group, groups.prefetch_distance);
    const __m512 factors = format.factors(group);
    const __m512 constants = constants_of(format, group, factors);
    __m512 scale[kBatch];
    for (std::size_t b = 0; b < kBatch; ++b) {
      const Int8Group& v = x[b][g];
      const __m512 scales_and_sums = _mm512_load_ps(v.scales);
      if constexpr (F::kSixteenths) {
        const __m512i pairs = _mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);
        scale[b] = _mm512_mul_ps(factors, _mm512_permutexvar_ps(pairs, scales_and_sums));
        constant[b] = _mm512_fmadd_ps(constants, _mm512_load_ps(v.half_sums), constant[b]);
      } else {
        scale[b] = _mm512_mul_ps(factors, scales_and_sums);
        constant[b] = _mm512_add_ps(scale[b], constant[b]);
      }
    }
#pragma GCC unroll 4
    for (std::size_t k = 0; k < 4; ++k) {
      const __m512i codes = format.codes(group, k);
      for (std::size_t b = 0; b < kBatch; ++b) {
        const __m512i products =
            _mm512_dpbusd_epi32(_mm512_setzero_si512(), codes, _mm512_load_si512(x[b][g].codes + 64 * k));
        __m512& part = sum[b][k % kSums];
        part = _mm512_fmadd_ps(_mm512_cvtepi32_ps(products), _mm512_permutexvar_ps(lanes[k], scale[b]), part);
      }
    }
  }
  constexpr __mmask16 kConstantLanes = F::kSixteenths ? 0xFFFFU : 0xFF00U;
  for (std::size_t b = 0; b < kBatch; ++b) {
    const __m512 whole = _mm512_add_ps(sum[b][0], sum[b][1]);
    sums[b] = _mm512_add_ps(
        sums[b], _mm512_mask3_fmadd_ps(constant[b], _mm512_set1_ps(F::kConstant), whole, kConstantLanes));
  }
}

// At most kSliceRows rows, from r0 on, times kBatch vectors.
template <TensorType kType, std::size_t kBatch>
THINKEY_VNNI void multiply_slice(const Int8Rows& job, std::size_t r0, std::size_t batch_begin) {
  using F = Format<kType>;
  const F format;
  const std::size_t rows = std::min(kSliceRows, job.rows - r0);
  const std::uint8_t* weights = job.weights + r0 * job.row_bytes;
  const std::size_t whole = job.cols / kInt8Group;
  const std::size_t rest = F::kBlocks ? job.cols % kInt8Group : 0;
  const std::size_t x_stride = whole + (rest != 0 ? 1 : 0);
  const Int8Group* x[kBatch];
  for (std::size_t b = 0; b < kBatch; ++b) x[b] = job.x + (batch_begin + b) * x_stride;
  __m512 sums[kSliceRows][kBatch];
  for (auto& of_row : sums) {
    for (__m512& sum : of_row) sum = _mm512_setzero_ps();
  }
  for (std::size_t g = 0; g < whole; g += kSliceGroups<kBatch>) {
    const std::size_t count = std::min(kSliceGroups<kBatch>, whole - g);
    const bool stream = count == whole && count * kBatch <= kStreamGroups;
    for (std::size_t r = 0; r < rows; ++r) {
      for (std::size_t at = 0; at < count; at += kSumGroups) {
        const Groups groups{weights + r * job.row_bytes + (g + at) * F::kBytes,
                            std::min(kSumGroups, count - at), stream ? kStreamDistance : job.row_bytes};
        const Int8Group* vectors[kBatch];
        for (std::size_t b = 0; b < kBatch; ++b) vectors[b] = x[b] + at;
        multiply_groups<kType, kBatch>(format, groups, vectors, sums[r]);
      }
    }
    for (std::size_t b = 0; b < kBatch; ++b) x[b] += count;
  }
  if (rest != 0) {  // a group of zeros that begins with the row's last blocks
    for (std::size_t r = 0; r < rows; ++r) {
      std::uint8_t group[F::kBytes] = {};
      std::memcpy(group, weights + r * job.row_bytes + whole * F::kBytes,
                  F::kBytes / 8 * (rest / kInt8Block));
      multiply_groups<kType, kBatch>(format, {group, 1, 0}, x, sums[r]);
    }
  }
  for (std::size_t r = 0; r < rows; ++r) {
    for (std::size_t b = 0; b < kBatch; ++b) {
      job.y[(batch_begin + b) * job.y_stride + r0 + r] = _mm512_reduce_add_ps(sums[r][b]);
    }
  }
}

// All vectors take a slice of rows before the next one: weights come from memory once.
template <TensorType kType>
void multiply_batch(const Int8Rows& job) {
  for (std::size_t r0 = 0; r0 < job.rows; r0 += kSliceRows) {
    std::size_t b = 0;
    for (; b + 4 <= job.batch; b += 4) multiply_slice<kType, 4>(job, r0, b);
    if (b + 2 <= job.batch) {
      multiply_slice<kType, 2>(job, r0, b);
      b += 2;
    }
    if (b < job.batch) multiply_slice<kType, 1>(job, r0, b);
  }
}

// One block of 32: codes, and their sums times the scale.
THINKEY_VNNI_INLINE void quantize_block(const float* x, Int8Group& group, std::size_t block) {
  const __m512 a = _mm512_loadu_ps(x);
  const __m512 b = _mm512_loadu_ps(x + 16);
  const __m512 largest = _mm512_set1_ps(FLT_MAX);
  const bool finite = (_mm512_cmp_ps_mask(_mm512_abs_ps(a), largest, _CMP_LE_OQ) &
                       _mm512_cmp_ps_mask(_mm512_abs_ps(b), largest, _CMP_LE_OQ)) == 0xFFFF;
  const float magnitude =
      finite ? _mm512_reduce_max_ps(_mm512_max_ps(_mm512_abs_ps(a), _mm512_abs_ps(b))) : 0;
  constexpr float kSmallest = 1e-35F;  // 127 / magnitude must stay finite
  const float inverse = magnitude < kSmallest ? 0 : 127 / magnitude;
  const float scale = !finite                 ? std::numeric_limits<float>::quiet_NaN()
                      : magnitude < kSmallest ? 0
                                              : magnitude / 127;
  // Not-a-numbers times zero would become codes of -128.
  const __mmask16 keep = finite ? 0xFFFF : 0;
  const __m512i low = _mm512_maskz_cvtps_epi32(keep, _mm512_mul_ps(a, _mm512_set1_ps(inverse)));
  const __m512i high = _mm512_maskz_cvtps_epi32(keep, _mm512_mul_ps(b, _mm512_set1_ps(inverse)));
  std::int8_t* codes = group.codes + kInt8Block * block;
  _mm_store_si128(reinterpret_cast<__m128i*>(codes), _mm512_cvtsepi32_epi8(low));
  _mm_store_si128(reinterpret_cast<__m128i*>(codes + 16), _mm512_cvtsepi32_epi8(high));
  const int low_sum = _mm512_reduce_add_epi32(low);
  const int high_sum = _mm512_reduce_add_epi32(high);
  group.code_sums[block] = low_sum + high_sum;
  group.half_code_sums[2 * block] = low_sum;
  group.half_code_sums[2 * block + 1] = high_sum;
  group.scales[block] = scale;
  group.sums[block] = scale * static_cast<float>(low_sum + high_sum);
  group.half_sums[2 * block] = scale * static_cast<float>(low_sum);
  group.half_sums[2 * block + 1] = scale * static_cast<float>(high_sum);
}

}  // namespace

bool cpu_multiplies_int8() noexcept {
  static const bool has = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                          __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
                          __builtin_cpu_supports("avx512vnni");
  return has;
}

THINKEY_VNNI void quantize_activations(const float* x, std::size_t n, Int8Group* groups) {
  for (; n >= kInt8Group; n -= kInt8Group, x += kInt8Group, ++groups) {
    for (std::size_t block = 0; block < kInt8Group / kInt8Block; ++block) {
      quantize_block(x + kInt8Block * block, *groups, block);
    }
  }
  if (n == 0) return;
  *groups = Int8Group{};
  for (std::size_t block = 0; block < n / kInt8Block; ++block) {
    quantize_block(x + kInt8Block * block, *groups, block);
  }
}

void multiply_rows_int8(const Int8Rows& job) {
  visit_tensor_type(job.type, [&]<TensorType kType>() {
    if constexpr (!is_plain(kType)) multiply_batch<kType>(job);
  });
}

}  // namespace thinkey

#else

namespace thinkey {

bool cpu_multiplies_int8() noexcept { return false; }
void quantize_activations(const float* /*x*/, std::size_t /*n*/, Int8Group* /*groups*/) {}
void multiply_rows_int8(const Int8Rows& /*job*/) {}

}  // namespace thinkey

#endif

namespace thinkey {

bool has_int8_product(TensorType type) noexcept { return !is_plain(type); }

}  // namespace thinkey
