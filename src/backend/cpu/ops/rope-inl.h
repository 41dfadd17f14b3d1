// Rotation of one head vector. Included once per Highway target.
#if defined(THINKEY_OPS_ROPE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef THINKEY_OPS_ROPE_INL_H_
#undef THINKEY_OPS_ROPE_INL_H_
#else
#define THINKEY_OPS_ROPE_INL_H_
#endif

#include <hwy/highway.h>

#include <cstddef>

HWY_BEFORE_NAMESPACE();
namespace thinkey::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// (a, b) -> (a cos - b sin, b cos + a sin) for one pair.
HWY_INLINE void rotate_pair(float cosine, float sine, float& a, float& b) {
  const float a0 = a;
  a = a0 * cosine - b * sine;
  b = b * cosine + a0 * sine;
}

// x [heads, head_dim], pairs (i, i + pairs)
inline void rope_half_split(const float* HWY_RESTRICT cosines, const float* HWY_RESTRICT sines,
                            std::size_t pairs, std::size_t heads, std::size_t head_dim,
                            float* HWY_RESTRICT x) {
  const hn::ScalableTag<float> d;
  const std::size_t lanes = hn::Lanes(d);
  for (std::size_t h = 0; h < heads; ++h) {
    float* HWY_RESTRICT first = x + h * head_dim;
    float* HWY_RESTRICT second = first + pairs;
    std::size_t i = 0;
    for (; i + lanes <= pairs; i += lanes) {
      const auto c = hn::LoadU(d, cosines + i);
      const auto s = hn::LoadU(d, sines + i);
      const auto a = hn::LoadU(d, first + i);
      const auto b = hn::LoadU(d, second + i);
      hn::StoreU(hn::NegMulAdd(b, s, hn::Mul(a, c)), d, first + i);
      hn::StoreU(hn::MulAdd(a, s, hn::Mul(b, c)), d, second + i);
    }
    for (; i < pairs; ++i) rotate_pair(cosines[i], sines[i], first[i], second[i]);
  }
}

// x [heads, head_dim], pairs (2i, 2i + 1)
inline void rope_interleaved(const float* HWY_RESTRICT cosines, const float* HWY_RESTRICT sines,
                             std::size_t pairs, std::size_t heads, std::size_t head_dim,
                             float* HWY_RESTRICT x) {
  const hn::ScalableTag<float> d;
  const std::size_t lanes = hn::Lanes(d);
  for (std::size_t h = 0; h < heads; ++h) {
    float* HWY_RESTRICT head = x + h * head_dim;
    std::size_t i = 0;
    for (; i + lanes <= pairs; i += lanes) {
      const auto c = hn::LoadU(d, cosines + i);
      const auto s = hn::LoadU(d, sines + i);
      auto a = hn::Undefined(d);
      auto b = hn::Undefined(d);
      hn::LoadInterleaved2(d, head + 2 * i, a, b);
      hn::StoreInterleaved2(hn::NegMulAdd(b, s, hn::Mul(a, c)), hn::MulAdd(a, s, hn::Mul(b, c)), d,
                            head + 2 * i);
    }
    for (; i < pairs; ++i) rotate_pair(cosines[i], sines[i], head[2 * i], head[2 * i + 1]);
  }
}

}  // namespace thinkey::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
