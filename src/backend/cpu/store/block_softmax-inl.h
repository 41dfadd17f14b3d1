// The running softmax of a few rows of logits. Included once per Highway target.

#if defined(THINKEY_BLOCK_SOFTMAX_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef THINKEY_BLOCK_SOFTMAX_INL_H_
#undef THINKEY_BLOCK_SOFTMAX_INL_H_
#else
#define THINKEY_BLOCK_SOFTMAX_INL_H_
#endif

#include <algorithm>
#include <cmath>
#include <limits>

#include "backend/cpu/ops/exp-inl.h"
#include "backend/cpu/store/integer_pairs-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace thinkey {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Sums are kept lane by lane until the end.
template <std::size_t kRows>
struct RunningSoftmax {
  float maximum[kRows];
  HWY_ALIGN float sums[kRows * 16];

  // Turns a block's logits of row r into weights exp(logit - maximum). Returns the factor that what was
  // accumulated before must be scaled with.
  HWY_INLINE float step(std::size_t r, float* HWY_RESTRICT scores) {
    const FloatTag d;
    const std::size_t lanes = hn::Lanes(d);
    FloatVector top = hn::LoadU(d, scores);
    for (std::size_t t = lanes; t < kBlockTokens; t += lanes) top = hn::Max(top, hn::LoadU(d, scores + t));
    float factor = 1.0F;
    FloatVector total = hn::Load(d, sums + r * lanes);
    if (!hn::AllFalse(d, hn::Gt(top, hn::Set(d, maximum[r])))) {  // seldom, after the first blocks
      const float peak = hn::GetLane(hn::MaxOfLanes(d, top));
      factor = std::exp(maximum[r] - peak);
      maximum[r] = peak;
      total = hn::Mul(total, hn::Set(d, factor));
    } else if (maximum[r] == -std::numeric_limits<float>::infinity()) {  // every token masked so far
      std::fill_n(scores, kBlockTokens, 0.0F);
      return 1.0F;
    }
    constexpr float kLog2E = 1.44269504F;
    const FloatVector shift = hn::Set(d, maximum[r] * kLog2E);
    for (std::size_t t = 0; t < kBlockTokens; t += lanes) {
      const FloatVector e = exp2_accurate(d, hn::MulSub(hn::LoadU(d, scores + t), hn::Set(d, kLog2E), shift));
      hn::StoreU(e, d, scores + t);
      total = hn::Add(total, e);
    }
    hn::Store(total, d, sums + r * lanes);
    return factor;
  }
};

}  // namespace HWY_NAMESPACE
}  // namespace thinkey
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
