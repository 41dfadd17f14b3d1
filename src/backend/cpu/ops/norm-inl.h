// RMSNorm of one row. Included once per Highway target.
#if defined(THINKEY_OPS_NORM_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef THINKEY_OPS_NORM_INL_H_
#undef THINKEY_OPS_NORM_INL_H_
#else
#define THINKEY_OPS_NORM_INL_H_
#endif

#include <hwy/highway.h>

#include <cmath>
#include <cstddef>

#include "backend/cpu/ops/tail-inl.h"

HWY_BEFORE_NAMESPACE();
namespace thinkey::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Four chains hide the latency of the additions and keep each partial sum short.
inline float sum_of_squares(const float* HWY_RESTRICT x, std::size_t n) {
  const hn::ScalableTag<float> d;
  const std::size_t lanes = hn::Lanes(d);
  auto s0 = hn::Zero(d);
  auto s1 = hn::Zero(d);
  auto s2 = hn::Zero(d);
  auto s3 = hn::Zero(d);
  std::size_t i = 0;
  for (; i + 4 * lanes <= n; i += 4 * lanes) {
    const auto v0 = hn::LoadU(d, x + i);
    const auto v1 = hn::LoadU(d, x + i + lanes);
    const auto v2 = hn::LoadU(d, x + i + 2 * lanes);
    const auto v3 = hn::LoadU(d, x + i + 3 * lanes);
    s0 = hn::MulAdd(v0, v0, s0);
    s1 = hn::MulAdd(v1, v1, s1);
    s2 = hn::MulAdd(v2, v2, s2);
    s3 = hn::MulAdd(v3, v3, s3);
  }
  for (; i + lanes <= n; i += lanes) {
    const auto v = hn::LoadU(d, x + i);
    s0 = hn::MulAdd(v, v, s0);
  }
  if (i < n) {
    const auto v = load_tail(d, x + i, n - i, 0.0F);
    s1 = hn::MulAdd(v, v, s1);
  }
  return hn::GetLane(hn::SumOfLanes(d, hn::Add(hn::Add(s0, s1), hn::Add(s2, s3))));
}

// x may be out.
inline void rms_norm_row(const float* x, const float* weight, float epsilon, std::size_t width, float* out) {
  const hn::ScalableTag<float> d;
  const std::size_t lanes = hn::Lanes(d);
  const float scale = 1.0F / std::sqrt(sum_of_squares(x, width) / static_cast<float>(width) + epsilon);
  const auto vscale = hn::Set(d, scale);
  std::size_t i = 0;
  for (; i + lanes <= width; i += lanes) {
    hn::StoreU(hn::Mul(hn::Mul(hn::LoadU(d, x + i), vscale), hn::LoadU(d, weight + i)), d, out + i);
  }
  if (i < width) {
    const std::size_t rest = width - i;
    const auto v = hn::Mul(load_tail(d, x + i, rest, 0.0F), vscale);
    store_tail(d, hn::Mul(v, load_tail(d, weight + i, rest, 0.0F)), out + i, rest);
  }
}

}  // namespace thinkey::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
