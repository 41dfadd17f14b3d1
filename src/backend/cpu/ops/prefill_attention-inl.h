// The online softmax of one tile of scores. Included once per Highway target.
#if defined(THINKEY_OPS_PREFILL_ATTENTION_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef THINKEY_OPS_PREFILL_ATTENTION_INL_H_
#undef THINKEY_OPS_PREFILL_ATTENTION_INL_H_
#else
#define THINKEY_OPS_PREFILL_ATTENTION_INL_H_
#endif

#include <hwy/highway.h>

#include <cmath>
#include <cstddef>
#include <cstring>
#include <limits>

#include "backend/cpu/ops/score_tile.h"
#include "backend/cpu/ops/softmax-inl.h"
#include "base/half.h"

HWY_BEFORE_NAMESPACE();
namespace thinkey::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// The nearest bf16 of non-negative numbers; ties, which cannot matter to softmax, go up.
template <class D>
HWY_INLINE hn::Vec<hn::Rebind<std::uint16_t, D>> weights_to_bf16(D, hn::Vec<D> y) {
  const hn::RebindToUnsigned<D> du;
  const hn::Rebind<std::uint16_t, D> d16;
  return hn::TruncateTo(d16, hn::ShiftRight<16>(hn::Add(hn::BitCast(du, y), hn::Set(du, 0x8000U))));
}

// p[i] = bf16(2^(x[i] - shift)); returns the sum of the powers before rounding.
inline float exp2_to_bf16(const float* HWY_RESTRICT x, std::size_t n, float shift,
                          bf16_bits* HWY_RESTRICT p) {
  const hn::ScalableTag<float> d;
  const hn::Rebind<std::uint16_t, decltype(d)> d16;
  const std::size_t lanes = hn::Lanes(d);
  const auto vshift = hn::Set(d, shift);
  auto s0 = hn::Zero(d);
  auto s1 = hn::Zero(d);
  std::size_t i = 0;
  for (; i + 2 * lanes <= n; i += 2 * lanes) {  // two chains of dependent steps side by side
    const auto y0 = exp2_coarse(d, hn::Sub(hn::LoadU(d, x + i), vshift));
    const auto y1 = exp2_coarse(d, hn::Sub(hn::LoadU(d, x + i + lanes), vshift));
    s0 = hn::Add(s0, y0);
    s1 = hn::Add(s1, y1);
    hn::StoreU(weights_to_bf16(d, y0), d16, integers(p) + i);
    hn::StoreU(weights_to_bf16(d, y1), d16, integers(p) + i + lanes);
  }
  for (; i + lanes <= n; i += lanes) {
    const auto y = exp2_coarse(d, hn::Sub(hn::LoadU(d, x + i), vshift));
    s0 = hn::Add(s0, y);
    hn::StoreU(weights_to_bf16(d, y), d16, integers(p) + i);
  }
  if (i < n) {
    constexpr float kLowest = -std::numeric_limits<float>::infinity();  // 2^-126: adds nothing
    const auto y = exp2_coarse(d, hn::Sub(load_tail(d, x + i, n - i, kLowest), vshift));
    s1 = hn::Add(s1, y);
    store_tail(d16, weights_to_bf16(d, y), integers(p) + i, n - i);
  }
  return hn::GetLane(hn::SumOfLanes(d, hn::Add(s0, s1)));
}

// Makes row r's state relative to its new, larger maximum.
inline void raise_max(const ScoreTile& tile, std::size_t r, float largest, float shrink) {
  tile.sum[r] *= shrink;
  scale_row(tile.output + r * tile.head_dim, tile.head_dim, shrink);
  tile.max[r] = largest;
}

// Replaces the scores by their weights relative to the row's maximum so far; invisible ones by 0.
inline void online_softmax_f32(const ScoreTile& tile) {
  for (std::size_t r = 0; r < tile.rows; ++r) {
    const auto [begin, end] = tile.visible[(tile.first_row + r) / tile.group];
    float* scores = tile.scores + r * tile.stride;
    std::memset(scores, 0, begin * sizeof(float));
    std::memset(scores + end, 0, (tile.width - end) * sizeof(float));
    if (begin == end) continue;
    if (tile.softcap > 0.0F) softcap_row(scores + begin, end - begin, tile.softcap);
    const float largest = row_max(scores + begin, end - begin);
    if (largest > tile.max[r]) raise_max(tile, r, largest, std::exp(tile.max[r] - largest));
    tile.sum[r] += exp_shifted_row(scores + begin, end - begin, tile.max[r]);
  }
}

// The same from scores in units of log2 to weights in bf16.
inline void online_softmax_bf16(const ScoreTile& tile) {
  for (std::size_t r = 0; r < tile.rows; ++r) {
    const auto [begin, end] = tile.visible[(tile.first_row + r) / tile.group];
    float* scores = tile.scores + r * tile.stride;
    bf16_bits* weights = tile.weights + r * tile.stride;
    std::memset(weights, 0, begin * sizeof(bf16_bits));
    std::memset(weights + end, 0, (tile.width - end) * sizeof(bf16_bits));
    if (begin == end) continue;
    if (tile.softcap > 0.0F) softcap_row(scores + begin, end - begin, tile.softcap);
    const float largest = row_max(scores + begin, end - begin);
    if (largest > tile.max[r]) raise_max(tile, r, largest, std::exp2(tile.max[r] - largest));
    tile.sum[r] += exp2_to_bf16(scores + begin, end - begin, tile.max[r], weights + begin);
  }
}

}  // namespace thinkey::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
