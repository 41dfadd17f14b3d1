// The last, partial vector of a row, read and written without touching what lies behind it.
// (Highway 1.0.3 has no LoadN, and its MaskedLoad may read past the end.)
// Included once per Highway target.
#if defined(THINKEY_OPS_TAIL_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef THINKEY_OPS_TAIL_INL_H_
#undef THINKEY_OPS_TAIL_INL_H_
#else
#define THINKEY_OPS_TAIL_INL_H_
#endif

#include <hwy/highway.h>

#include <cstddef>
#include <cstring>

HWY_BEFORE_NAMESPACE();
namespace thinkey::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Lanes 0 .. n-1 from p, the others `fill`; n < Lanes(d).
template <class D, typename T = hn::TFromD<D>>
HWY_INLINE hn::Vec<D> load_tail(D d, const T* p, std::size_t n, T fill) {
  HWY_ALIGN T lanes[hn::MaxLanes(D())];
  hn::Store(hn::Set(d, fill), d, lanes);
  std::memcpy(lanes, p, n * sizeof(T));
  return hn::Load(d, lanes);
}

// Lanes 0 .. n-1 to p.
template <class D, typename T = hn::TFromD<D>>
HWY_INLINE void store_tail(D d, hn::Vec<D> v, T* p, std::size_t n) {
  HWY_ALIGN T lanes[hn::MaxLanes(D())];
  hn::Store(v, d, lanes);
  std::memcpy(p, lanes, n * sizeof(T));
}

}  // namespace thinkey::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
