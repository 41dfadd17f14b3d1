// Exponentials and hyperbolic tangents of f32 vectors. Coefficients: minimax for relative error, fitted by
// ourselves (Lawson iteration). Included once per Highway target.
#if defined(THINKEY_OPS_EXP_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef THINKEY_OPS_EXP_INL_H_
#undef THINKEY_OPS_EXP_INL_H_
#else
#define THINKEY_OPS_EXP_INL_H_
#endif

#include <hwy/highway.h>

#include <cstdint>

HWY_BEFORE_NAMESPACE();
namespace thinkey::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// 2^n for whole n in [-127, 127], given as f32: the exponent field alone (n = -127 gives 0).
template <class D>
HWY_INLINE hn::Vec<D> power_of_two(D d, hn::Vec<D> n) {
  const hn::RebindToSigned<D> di;
  return hn::BitCast(d, hn::ShiftLeft<23>(hn::Add(hn::ConvertTo(di, n), hn::Set(di, 127))));
}

// e^x, relative error below 2e-7 for x in [-87.3, 88]. Smaller x gives 0 (no subnormals), larger
// ones approach infinity, NaN stays.
template <class D>
HWY_INLINE hn::Vec<D> exp_accurate(D d, hn::Vec<D> x) {
  const auto n = hn::Min(hn::Max(hn::Round(hn::Mul(x, hn::Set(d, 1.44269504F))), hn::Set(d, -127.0F)),
                         hn::Set(d, 127.0F));
  // x - n ln 2 in two steps; the first product is exact: 9 significant bits times the 7 of n.
  auto r = hn::NegMulAdd(n, hn::Set(d, 0.693359375F), x);
  r = hn::NegMulAdd(n, hn::Set(d, -2.12194440e-4F), r);
  auto p = hn::Set(d, 1.3814191e-3F);
  p = hn::MulAdd(p, r, hn::Set(d, 8.368914e-3F));
  p = hn::MulAdd(p, r, hn::Set(d, 4.1668408e-2F));
  p = hn::MulAdd(p, r, hn::Set(d, 0.1666652F));
  p = hn::MulAdd(p, r, hn::Set(d, 0.49999994F));
  p = hn::MulAdd(p, r, hn::Set(d, 1.0F));
  p = hn::MulAdd(p, r, hn::Set(d, 1.0F));
  const auto y = hn::Mul(p, power_of_two(d, n));
  return hn::IfThenZeroElse(hn::Lt(x, hn::Set(d, -87.3F)), y);
}

// 2^x for x <= 0, relative error below 2e-7. Below -126 the result is 2^-126, not 0; x must not be NaN for a
// meaningful result.
template <class D>
HWY_INLINE hn::Vec<D> exp2_accurate(D d, hn::Vec<D> x) {
  const hn::RebindToSigned<D> di;
  // Adding 1.5 * 2^23 leaves the nearest whole number in the low bits of the sum.
  const auto magic = hn::Set(d, 12582912.0F);
  const auto clamped = hn::Max(x, hn::Set(d, -126.0F));
  const auto shifted = hn::Add(clamped, magic);
  const auto r = hn::Sub(clamped, hn::Sub(shifted, magic));
  auto p = hn::Set(d, 1.32764725E-3F);
  p = hn::MulAdd(p, r, hn::Set(d, 9.6755419E-3F));
  p = hn::MulAdd(p, r, hn::Set(d, 5.5507131E-2F));
  p = hn::MulAdd(p, r, hn::Set(d, 0.2402212F));
  p = hn::MulAdd(p, r, hn::Set(d, 0.69314694F));
  p = hn::MulAdd(p, r, hn::Set(d, 1.0000001F));
  return hn::BitCast(d, hn::Add(hn::BitCast(di, p), hn::ShiftLeft<23>(hn::BitCast(di, shifted))));
}

// 2^x for x <= 0, relative error below 8e-5: a tenth of what rounding to bf16 then costs. Below
// -126 the result is 2^-126, not 0; x must not be NaN for a meaningful result.
template <class D>
HWY_INLINE hn::Vec<D> exp2_coarse(D d, hn::Vec<D> x) {
  const hn::RebindToSigned<D> di;
  const auto magic = hn::Set(d, 12582912.0F);
  const auto clamped = hn::Max(x, hn::Set(d, -126.0F));
  const auto shifted = hn::Add(clamped, magic);
  const auto r = hn::Sub(clamped, hn::Sub(shifted, magic));
  auto p = hn::Set(d, 0.05517167F);
  p = hn::MulAdd(p, r, hn::Set(d, 0.24261113F));
  p = hn::MulAdd(p, r, hn::Set(d, 0.69326097F));
  p = hn::MulAdd(p, r, hn::Set(d, 0.99992806F));
  return hn::BitCast(d, hn::Add(hn::BitCast(di, p), hn::ShiftLeft<23>(hn::BitCast(di, shifted))));
}

// tanh x, relative error below 3e-7; NaN stays.
template <class D>
HWY_INLINE hn::Vec<D> tanh_accurate(D d, hn::Vec<D> x) {
  const auto one = hn::Set(d, 1.0F);
  const auto magnitude = hn::Abs(x);
  // Near 0 the difference below would lose digits.
  const auto z = hn::Mul(x, x);
  auto p = hn::Set(d, -5.7049338e-3F);
  p = hn::MulAdd(p, z, hn::Set(d, 2.0639041e-2F));
  p = hn::MulAdd(p, z, hn::Set(d, -5.3739700e-2F));
  p = hn::MulAdd(p, z, hn::Set(d, 0.13331442F));
  p = hn::MulAdd(p, z, hn::Set(d, -0.33333281F));
  const auto small = hn::MulAdd(hn::Mul(p, z), x, x);
  const auto e = exp_accurate(d, hn::Add(magnitude, magnitude));
  const auto large = hn::Sub(one, hn::Div(hn::Set(d, 2.0F), hn::Add(e, one)));
  return hn::IfThenElse(hn::Lt(magnitude, hn::Set(d, 0.625F)), small, hn::CopySign(large, x));
}

}  // namespace thinkey::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
