// 16-bit floats to and from vectors of f32, for every Highway target.

// Highway's include guard for code that is compiled once per target.
#if defined(THINKEY_OPS_CONVERT_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef THINKEY_OPS_CONVERT_INL_H_
#undef THINKEY_OPS_CONVERT_INL_H_
#else
#define THINKEY_OPS_CONVERT_INL_H_
#endif

#include <hwy/highway.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "base/half.h"

// Highway's software f16 (SSE4, scalar) knows neither infinity nor rounding, so there we do it ourselves.
#undef THINKEY_HARDWARE_F16
#if HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX2 && !defined(HWY_DISABLE_F16C)
#define THINKEY_HARDWARE_F16 1
#elif HWY_ARCH_ARM_A64 && HWY_TARGET != HWY_SCALAR && HWY_TARGET != HWY_EMU128
#define THINKEY_HARDWARE_F16 1
#else
#define THINKEY_HARDWARE_F16 0
#endif

HWY_BEFORE_NAMESPACE();
namespace thinkey::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// f32 vectors never exceed 16 lanes: the smallest group of elements that shares one scale.
using F32Tag = hn::CappedTag<float, 16>;

// A vector from memory of any alignment: blocks of odd sizes put their fields anywhere.
template <class D>
HWY_INLINE hn::Vec<D> load_bytes(D d, const std::uint8_t* bytes) {
#if HWY_TARGET == HWY_SCALAR
  hn::TFromD<D> value;
  std::memcpy(&value, bytes, sizeof(value));
  return hn::Set(d, value);
#else
  return hn::BitCast(d, hn::LoadU(hn::Repartition<std::uint8_t, D>(), bytes));
#endif
}

template <class D>
HWY_INLINE hn::Vec<D> f32_from_bf16_bits(D d, hn::Vec<hn::Rebind<std::uint16_t, D>> bits) {
  return hn::BitCast(d, hn::ShiftLeft<16>(hn::PromoteTo(hn::Rebind<std::uint32_t, D>(), bits)));
}

template <class D>
HWY_INLINE hn::Vec<hn::Rebind<std::uint16_t, D>> bf16_bits_from_f32(D d, hn::Vec<D> v) {
  const hn::Rebind<std::uint16_t, D> du16;
  const hn::RebindToUnsigned<D> du;
  const hn::RebindToSigned<D> di;
  const auto bits = hn::BitCast(du, v);
  const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(du, 1U));
  const auto rounded = hn::Add(bits, hn::Add(odd, hn::Set(du, 0x7FFFU)));  // to nearest, ties to even
  const auto quiet = hn::Or(bits, hn::Set(du, 0x400000U));
  const auto chosen = hn::IfThenElse(hn::RebindMask(du, hn::IsNaN(v)), quiet, rounded);
  (void)d;
  return hn::DemoteTo(du16, hn::BitCast(di, hn::ShiftRight<16>(chosen)));
}

template <class D>
HWY_INLINE hn::Vec<D> f32_from_f16_bits(D d, hn::Vec<hn::Rebind<std::uint16_t, D>> bits) {
#if THINKEY_HARDWARE_F16
  return hn::PromoteTo(d, hn::BitCast(hn::Rebind<hwy::float16_t, D>(), bits));
#else
  const hn::RebindToUnsigned<D> du;
  const hn::RebindToSigned<D> di;
  const auto wide = hn::PromoteTo(du, bits);
  const auto sign = hn::ShiftLeft<16>(hn::And(wide, hn::Set(du, 0x8000U)));
  const auto magnitude = hn::And(wide, hn::Set(du, 0x7FFFU));
  const auto shifted = hn::ShiftLeft<13>(magnitude);
  const auto normal = hn::Add(shifted, hn::Set(du, 112U << 23U));  // exponent bias 15 -> 127
  const auto special = hn::Or(shifted, hn::Set(du, 0x7F800000U));  // infinity, NaN
  const auto subnormal =
      hn::BitCast(du, hn::Mul(hn::ConvertTo(d, hn::BitCast(di, magnitude)), hn::Set(d, 0x1p-24F)));  // exact
  const auto signed_magnitude = hn::BitCast(di, magnitude);
  const auto is_special = hn::Gt(signed_magnitude, hn::Set(di, 0x7BFF));
  const auto is_subnormal = hn::Lt(signed_magnitude, hn::Set(di, 0x0400));
  auto out = hn::IfThenElse(hn::RebindMask(du, is_special), special, normal);
  out = hn::IfThenElse(hn::RebindMask(du, is_subnormal), subnormal, out);
  return hn::BitCast(d, hn::Or(out, sign));
#endif
}

template <class D>
HWY_INLINE hn::Vec<hn::Rebind<std::uint16_t, D>> f16_bits_from_f32(D d, hn::Vec<D> v) {
  const hn::Rebind<std::uint16_t, D> du16;
#if THINKEY_HARDWARE_F16
  (void)d;
  return hn::BitCast(du16, hn::DemoteTo(hn::Rebind<hwy::float16_t, D>(), v));
#else
  const hn::RebindToUnsigned<D> du;
  const hn::RebindToSigned<D> di;
  const auto bits = hn::BitCast(du, v);
  const auto sign = hn::And(hn::ShiftRight<16>(bits), hn::Set(du, 0x8000U));
  const auto magnitude = hn::And(bits, hn::Set(du, 0x7FFFFFFFU));
  const auto odd = hn::And(hn::ShiftRight<13>(magnitude), hn::Set(du, 1U));
  // Rebias the exponent 127 -> 15 and round to nearest, ties to even. (The sum is the same modulo 2^32.)
  const auto normal =
      hn::ShiftRight<13>(hn::Add(hn::Add(magnitude, odd), hn::Set(du, 0xFFFU - (112U << 23U))));
  // Adding 0.5 makes the FPU round at 2^-24, the subnormals' unit.
  const auto subnormal = hn::Sub(hn::BitCast(du, hn::Add(hn::BitCast(d, magnitude), hn::Set(d, 0.5F))),
                                 hn::Set(du, 0x3F000000U));
  const auto signed_magnitude = hn::BitCast(di, magnitude);
  const auto is_small = hn::Lt(signed_magnitude, hn::Set(di, 0x38800000));
  const auto is_huge = hn::Gt(signed_magnitude, hn::Set(di, 0x477FEFFF));  // rounds past 65504
  const auto is_nan = hn::Gt(signed_magnitude, hn::Set(di, 0x7F800000));
  auto out = hn::IfThenElse(hn::RebindMask(du, is_small), subnormal, normal);
  out = hn::IfThenElse(hn::RebindMask(du, is_huge), hn::Set(du, 0x7C00U), out);
  out = hn::IfThenElse(hn::RebindMask(du, is_nan), hn::Set(du, 0x7E00U), out);
  return hn::DemoteTo(du16, hn::BitCast(di, hn::Or(out, sign)));
#endif
}

template <class D>
HWY_INLINE hn::Vec<D> load_f16(D d, const std::uint8_t* bytes) {
  return f32_from_f16_bits(d, load_bytes(hn::Rebind<std::uint16_t, D>(), bytes));
}

template <class D>
HWY_INLINE hn::Vec<D> load_bf16(D d, const std::uint8_t* bytes) {
  return f32_from_bf16_bits(d, load_bytes(hn::Rebind<std::uint16_t, D>(), bytes));
}

// One f16 at `bytes`, as f32 in every lane.
template <class D>
HWY_INLINE hn::Vec<D> broadcast_f16(D d, const std::uint8_t* bytes) {
  f16_bits half;
  std::memcpy(&half, bytes, sizeof(half));
#if THINKEY_HARDWARE_F16
  return f32_from_f16_bits(d, hn::Set(hn::Rebind<std::uint16_t, D>(), half.bits));
#else
  return hn::Set(d, f32_from_f16(half));
#endif
}

}  // namespace thinkey::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // THINKEY_OPS_CONVERT_INL_H_
