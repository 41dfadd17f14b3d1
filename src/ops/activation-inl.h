// Elementwise kernels of the feed-forward block. Included once per Highway target.
#if defined(THINKEY_OPS_ACTIVATION_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef THINKEY_OPS_ACTIVATION_INL_H_
#undef THINKEY_OPS_ACTIVATION_INL_H_
#else
#define THINKEY_OPS_ACTIVATION_INL_H_
#endif

#include <hwy/highway.h>

#include <cstddef>

#include "ops/exp-inl.h"
#include "ops/tail-inl.h"

HWY_BEFORE_NAMESPACE();
namespace thinkey::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// gate * sigmoid(gate) * up. For very negative gates exp(-gate) is infinite and the quotient 0.
template <class D>
HWY_INLINE hn::Vec<D> swiglu_vector(D d, hn::Vec<D> gate, hn::Vec<D> up) {
  const auto denominator = hn::Add(hn::Set(d, 1.0F), exp_accurate(d, hn::Neg(gate)));
  return hn::Mul(hn::Div(gate, denominator), up);
}

// out may be gate or up.
inline void swiglu_row(const float* gate, const float* up, std::size_t n, float* out) {
  const hn::ScalableTag<float> d;
  const std::size_t lanes = hn::Lanes(d);
  std::size_t i = 0;
  for (; i + 2 * lanes <= n; i += 2 * lanes) {
    const auto y0 = swiglu_vector(d, hn::LoadU(d, gate + i), hn::LoadU(d, up + i));
    const auto y1 = swiglu_vector(d, hn::LoadU(d, gate + i + lanes), hn::LoadU(d, up + i + lanes));
    hn::StoreU(y0, d, out + i);
    hn::StoreU(y1, d, out + i + lanes);
  }
  for (; i + lanes <= n; i += lanes) {
    hn::StoreU(swiglu_vector(d, hn::LoadU(d, gate + i), hn::LoadU(d, up + i)), d, out + i);
  }
  if (i < n) {
    const std::size_t rest = n - i;
    const auto y = swiglu_vector(d, load_tail(d, gate + i, rest, 0.0F), load_tail(d, up + i, rest, 0.0F));
    store_tail(d, y, out + i, rest);
  }
}

// out[i] += x[i]
inline void add_row(const float* x, std::size_t n, float* out) {
  const hn::ScalableTag<float> d;
  const std::size_t lanes = hn::Lanes(d);
  std::size_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    hn::StoreU(hn::Add(hn::LoadU(d, out + i), hn::LoadU(d, x + i)), d, out + i);
  }
  for (; i < n; ++i) out[i] += x[i];
}

}  // namespace thinkey::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
