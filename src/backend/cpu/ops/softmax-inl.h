// Softmax and its parts over one row. Included once per Highway target.
#if defined(THINKEY_OPS_SOFTMAX_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef THINKEY_OPS_SOFTMAX_INL_H_
#undef THINKEY_OPS_SOFTMAX_INL_H_
#else
#define THINKEY_OPS_SOFTMAX_INL_H_
#endif

#include <hwy/highway.h>

#include <cmath>
#include <cstddef>
#include <limits>

#include "backend/cpu/ops/exp-inl.h"
#include "backend/cpu/ops/tail-inl.h"

HWY_BEFORE_NAMESPACE();
namespace thinkey::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Largest element; -inf for an empty row.
inline float row_max(const float* HWY_RESTRICT x, std::size_t n) {
  const hn::ScalableTag<float> d;
  const std::size_t lanes = hn::Lanes(d);
  constexpr float kLowest = -std::numeric_limits<float>::infinity();
  auto m0 = hn::Set(d, kLowest);
  auto m1 = m0;
  auto m2 = m0;
  auto m3 = m0;
  std::size_t i = 0;
  for (; i + 4 * lanes <= n; i += 4 * lanes) {
    m0 = hn::Max(m0, hn::LoadU(d, x + i));
    m1 = hn::Max(m1, hn::LoadU(d, x + i + lanes));
    m2 = hn::Max(m2, hn::LoadU(d, x + i + 2 * lanes));
    m3 = hn::Max(m3, hn::LoadU(d, x + i + 3 * lanes));
  }
  for (; i + lanes <= n; i += lanes) m0 = hn::Max(m0, hn::LoadU(d, x + i));
  if (i < n) m1 = hn::Max(m1, load_tail(d, x + i, n - i, kLowest));
  return hn::GetLane(hn::MaxOfLanes(d, hn::Max(hn::Max(m0, m1), hn::Max(m2, m3))));
}

// x[i] = exp(x[i] - shift); the sum is returned.
inline float exp_shifted_row(float* HWY_RESTRICT x, std::size_t n, float shift) {
  const hn::ScalableTag<float> d;
  const std::size_t lanes = hn::Lanes(d);
  const auto vshift = hn::Set(d, shift);
  auto s0 = hn::Zero(d);
  auto s1 = hn::Zero(d);
  std::size_t i = 0;
  for (; i + 2 * lanes <= n; i += 2 * lanes) {  // two chains of dependent steps side by side
    const auto y0 = exp_accurate(d, hn::Sub(hn::LoadU(d, x + i), vshift));
    const auto y1 = exp_accurate(d, hn::Sub(hn::LoadU(d, x + i + lanes), vshift));
    s0 = hn::Add(s0, y0);
    s1 = hn::Add(s1, y1);
    hn::StoreU(y0, d, x + i);
    hn::StoreU(y1, d, x + i + lanes);
  }
  for (; i + lanes <= n; i += lanes) {
    const auto y = exp_accurate(d, hn::Sub(hn::LoadU(d, x + i), vshift));
    s0 = hn::Add(s0, y);
    hn::StoreU(y, d, x + i);
  }
  if (i < n) {
    constexpr float kLowest = -std::numeric_limits<float>::infinity();  // adds nothing to the sum
    const auto y = exp_accurate(d, hn::Sub(load_tail(d, x + i, n - i, kLowest), vshift));
    s1 = hn::Add(s1, y);
    store_tail(d, y, x + i, n - i);
  }
  return hn::GetLane(hn::SumOfLanes(d, hn::Add(s0, s1)));
}

// x[i] *= factor
inline void scale_row(float* HWY_RESTRICT x, std::size_t n, float factor) {
  const hn::ScalableTag<float> d;
  const std::size_t lanes = hn::Lanes(d);
  const auto vfactor = hn::Set(d, factor);
  std::size_t i = 0;
  for (; i + lanes <= n; i += lanes) hn::StoreU(hn::Mul(hn::LoadU(d, x + i), vfactor), d, x + i);
  for (; i < n; ++i) x[i] *= factor;
}

// x[i] = cap * tanh(x[i] / cap)
inline void softcap_row(float* HWY_RESTRICT x, std::size_t n, float cap) {
  const hn::ScalableTag<float> d;
  const std::size_t lanes = hn::Lanes(d);
  const auto vcap = hn::Set(d, cap);
  const auto inverse = hn::Set(d, 1.0F / cap);
  const auto capped = [&](auto y) HWY_ATTR { return hn::Mul(tanh_accurate(d, hn::Mul(y, inverse)), vcap); };
  std::size_t i = 0;
  for (; i + lanes <= n; i += lanes) hn::StoreU(capped(hn::LoadU(d, x + i)), d, x + i);
  if (i < n) store_tail(d, capped(load_tail(d, x + i, n - i, 0.0F)), x + i, n - i);
}

inline void softmax_row(float* HWY_RESTRICT x, std::size_t n, float sink) {
  const float highest = row_max(x, n);
  const float largest = sink > highest ? sink : highest;
  if (largest == -std::numeric_limits<float>::infinity()) {  // nothing is visible: weigh nothing
    for (std::size_t i = 0; i < n; ++i) x[i] = 0.0F;
    return;
  }
  const float total = exp_shifted_row(x, n, largest);
  // A row without a sink must not gain by it, be it NaN (a broken model).
  const float joined = sink == -std::numeric_limits<float>::infinity() ? 0.0F : std::exp(sink - largest);
  scale_row(x, n, 1.0F / (total + joined));
}

}  // namespace thinkey::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
