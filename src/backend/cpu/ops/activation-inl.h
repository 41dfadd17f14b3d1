// Elementwise kernels of the feed-forward block. Included once per Highway target.
#if defined(THINKEY_OPS_ACTIVATION_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef THINKEY_OPS_ACTIVATION_INL_H_
#undef THINKEY_OPS_ACTIVATION_INL_H_
#else
#define THINKEY_OPS_ACTIVATION_INL_H_
#endif

#include <hwy/highway.h>

#include <cstddef>

#include "backend/cpu/ops/exp-inl.h"
#include "backend/cpu/ops/tail-inl.h"

HWY_BEFORE_NAMESPACE();
namespace thinkey::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// x * sigmoid(x). For very negative x exp(-x) is infinite and the quotient 0.
template <class D>
HWY_INLINE hn::Vec<D> times_sigmoid(D d, hn::Vec<D> x, hn::Vec<D> steep) {
  return hn::Div(x, hn::Add(hn::Set(d, 1.0F), exp_accurate(d, hn::Neg(hn::Mul(steep, x)))));
}

struct SwigluStep {
  template <class D>
  HWY_INLINE hn::Vec<D> operator()(D d, hn::Vec<D> gate, hn::Vec<D> up) const {
    return hn::Mul(times_sigmoid(d, gate, hn::Set(d, 1.0F)), up);
  }
};

// gelu(x) by its tanh approximation, 0.5 x (1 + tanh(u)) = x sigmoid(2u), u = sqrt(2/pi) (x + 0.044715 x^3).
struct GegluStep {
  template <class D>
  HWY_INLINE hn::Vec<D> operator()(D d, hn::Vec<D> gate, hn::Vec<D> up) const {
    const auto steep = hn::Mul(hn::Set(d, 1.59576912F),
                               hn::MulAdd(hn::Mul(gate, gate), hn::Set(d, 0.044715F), hn::Set(d, 1.0F)));
    return hn::Mul(times_sigmoid(d, gate, steep), up);
  }
};

struct ClampedSwigluStep {
  template <class D>
  HWY_INLINE hn::Vec<D> operator()(D d, hn::Vec<D> gate, hn::Vec<D> up) const {
    const auto limit = hn::Set(d, 7.0F);
    const auto g = hn::Min(gate, limit);
    const auto u = hn::Max(hn::Min(up, limit), hn::Neg(limit));
    return hn::Mul(times_sigmoid(d, g, hn::Set(d, 1.702F)), hn::Add(u, hn::Set(d, 1.0F)));
  }
};

struct ReluSquaredStep {
  template <class D>
  HWY_INLINE hn::Vec<D> operator()(D d, hn::Vec<D>, hn::Vec<D> up) const {
    const auto x = hn::Max(up, hn::Zero(d));
    return hn::Mul(x, x);
  }
};

// out may be gate or up.
template <class Step>
HWY_INLINE void activation_row(const Step& step, const float* gate, const float* up, std::size_t n,
                               float* out) {
  const hn::ScalableTag<float> d;
  const std::size_t lanes = hn::Lanes(d);
  std::size_t i = 0;
  for (; i + 2 * lanes <= n; i += 2 * lanes) {
    const auto y0 = step(d, hn::LoadU(d, gate + i), hn::LoadU(d, up + i));
    const auto y1 = step(d, hn::LoadU(d, gate + i + lanes), hn::LoadU(d, up + i + lanes));
    hn::StoreU(y0, d, out + i);
    hn::StoreU(y1, d, out + i + lanes);
  }
  for (; i + lanes <= n; i += lanes) {
    hn::StoreU(step(d, hn::LoadU(d, gate + i), hn::LoadU(d, up + i)), d, out + i);
  }
  if (i < n) {
    const std::size_t rest = n - i;
    const auto y = step(d, load_tail(d, gate + i, rest, 0.0F), load_tail(d, up + i, rest, 0.0F));
    store_tail(d, y, out + i, rest);
  }
}

inline void swiglu_row(const float* gate, const float* up, std::size_t n, float* out) {
  activation_row(SwigluStep(), gate, up, n, out);
}
inline void geglu_row(const float* gate, const float* up, std::size_t n, float* out) {
  activation_row(GegluStep(), gate, up, n, out);
}
inline void clamped_swiglu_row(const float* gate, const float* up, std::size_t n, float* out) {
  activation_row(ClampedSwigluStep(), gate, up, n, out);
}
inline void relu_squared_row(const float*, const float* up, std::size_t n, float* out) {
  activation_row(ReluSquaredStep(), up, up, n, out);
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
