// 24-bit floats to and from vectors of f32. Included once per Highway target.
#if defined(THINKEY_OPS_FLOAT24_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef THINKEY_OPS_FLOAT24_INL_H_
#undef THINKEY_OPS_FLOAT24_INL_H_
#else
#define THINKEY_OPS_FLOAT24_INL_H_
#endif

#include <hwy/highway.h>

#include <cstddef>
#include <cstdint>

#include "backend/cpu/ops/tail-inl.h"

HWY_BEFORE_NAMESPACE();
namespace thinkey::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

template <class D>
using UpperTag = hn::Rebind<std::uint16_t, D>;
template <class D>
using LowerTag = hn::Rebind<std::uint8_t, D>;

template <class D>
HWY_INLINE hn::Vec<D> f32_from_f24_bits(D d, hn::Vec<UpperTag<D>> upper, hn::Vec<LowerTag<D>> lower) {
  const hn::RebindToUnsigned<D> du;
  return hn::BitCast(
      d, hn::Or(hn::ShiftLeft<16>(hn::PromoteTo(du, upper)), hn::ShiftLeft<8>(hn::PromoteTo(du, lower))));
}

// The 24 bits as an integer, ready to be split.
template <class D>
HWY_INLINE hn::Vec<hn::RebindToSigned<D>> f24_bits_from_f32(D /*d*/, hn::Vec<D> v) {
  const hn::RebindToUnsigned<D> du;
  const hn::RebindToSigned<D> di;
  const auto bits = hn::BitCast(du, v);
  const auto odd = hn::And(hn::ShiftRight<8>(bits), hn::Set(du, 1U));
  const auto rounded = hn::Add(bits, hn::Add(odd, hn::Set(du, 0x7FU)));  // to nearest, ties to even
  // Rounding could carry a NaN into the sign, cutting could leave an infinity of it.
  const auto quiet = hn::Or(bits, hn::Set(du, 0x400000U));
  const auto chosen = hn::IfThenElse(hn::RebindMask(du, hn::IsNaN(v)), quiet, rounded);
  return hn::BitCast(di, hn::ShiftRight<8>(chosen));
}

template <class D>
HWY_INLINE hn::Vec<UpperTag<D>> upper_of(D /*d*/, hn::Vec<hn::RebindToSigned<D>> bits) {
  return hn::DemoteTo(UpperTag<D>(), hn::ShiftRight<8>(bits));
}
template <class D>
HWY_INLINE hn::Vec<LowerTag<D>> lower_of(D /*d*/, hn::Vec<hn::RebindToSigned<D>> bits) {
  return hn::DemoteTo(LowerTag<D>(), hn::And(bits, hn::Set(hn::RebindToSigned<D>(), 0xFF)));
}

// A vector, or its first n lanes only.
template <class D>
HWY_INLINE hn::Vec<D> load_f24(D d, const std::uint16_t* upper, const std::uint8_t* lower) {
  return f32_from_f24_bits(d, hn::LoadU(UpperTag<D>(), upper), hn::LoadU(LowerTag<D>(), lower));
}
template <class D>
HWY_INLINE hn::Vec<D> load_f24_tail(D d, const std::uint16_t* upper, const std::uint8_t* lower,
                                    std::size_t n) {
  return f32_from_f24_bits(d, load_tail(UpperTag<D>(), upper, n, std::uint16_t{0}),
                           load_tail(LowerTag<D>(), lower, n, std::uint8_t{0}));
}
template <class D>
HWY_INLINE void store_f24(D d, hn::Vec<D> v, std::uint16_t* upper, std::uint8_t* lower) {
  const auto bits = f24_bits_from_f32(d, v);
  hn::StoreU(upper_of(d, bits), UpperTag<D>(), upper);
  hn::StoreU(lower_of(d, bits), LowerTag<D>(), lower);
}
template <class D>
HWY_INLINE void store_f24_tail(D d, hn::Vec<D> v, std::uint16_t* upper, std::uint8_t* lower, std::size_t n) {
  const auto bits = f24_bits_from_f32(d, v);
  store_tail(UpperTag<D>(), upper_of(d, bits), upper, n);
  store_tail(LowerTag<D>(), lower_of(d, bits), lower, n);
}

inline void f32_to_f24_row(const float* from, std::size_t n, std::uint16_t* upper, std::uint8_t* lower) {
  const hn::ScalableTag<float> d;
  const std::size_t lanes = hn::Lanes(d);
  std::size_t i = 0;
  for (; i + lanes <= n; i += lanes) store_f24(d, hn::LoadU(d, from + i), upper + i, lower + i);
  if (i < n) store_f24_tail(d, load_tail(d, from + i, n - i, 0.0F), upper + i, lower + i, n - i);
}

inline void f24_to_f32_row(const std::uint16_t* upper, const std::uint8_t* lower, std::size_t n, float* to) {
  const hn::ScalableTag<float> d;
  const std::size_t lanes = hn::Lanes(d);
  std::size_t i = 0;
  for (; i + lanes <= n; i += lanes) hn::StoreU(load_f24(d, upper + i, lower + i), d, to + i);
  if (i < n) store_tail(d, load_f24_tail(d, upper + i, lower + i, n - i), to + i, n - i);
}

inline void add_to_f24_row(const float* x, std::size_t n, std::uint16_t* upper, std::uint8_t* lower) {
  const hn::ScalableTag<float> d;
  const std::size_t lanes = hn::Lanes(d);
  std::size_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    const auto sum = hn::Add(load_f24(d, upper + i, lower + i), hn::LoadU(d, x + i));
    store_f24(d, sum, upper + i, lower + i);
  }
  if (i < n) {
    const auto sum = hn::Add(load_f24_tail(d, upper + i, lower + i, n - i), load_tail(d, x + i, n - i, 0.0F));
    store_f24_tail(d, sum, upper + i, lower + i, n - i);
  }
}

}  // namespace thinkey::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
