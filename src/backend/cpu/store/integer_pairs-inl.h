// Sums of products of 16-bit integers in pairs, which every instruction set has. Included once per Highway
// target.

#if defined(THINKEY_INTEGER_PAIRS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef THINKEY_INTEGER_PAIRS_INL_H_
#undef THINKEY_INTEGER_PAIRS_INL_H_
#else
#define THINKEY_INTEGER_PAIRS_INL_H_
#endif

#include <cstdint>
#include <cstring>

#include "backend/cpu/store/block.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace thinkey {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using FloatTag = hn::CappedTag<float, 16>;  // 32 tokens are two such vectors, or more where they are shorter
using FloatVector = hn::Vec<FloatTag>;

// Sums of products of pairs. Instruction sets differ in which half of a sum they keep where.
template <class IntegerTag>
struct PairSums {
  using Vector = hn::Vec<IntegerTag>;
  Vector even, odd;

  // Not implicit: GCC would compile that for the baseline instruction set.
  HWY_INLINE PairSums() : even(hn::Zero(IntegerTag())), odd(hn::Zero(IntegerTag())) {}
  // Lanes of `pairs` and `factors` hold two 16-bit numbers each.
  HWY_INLINE void add_products(IntegerTag d, Vector pairs, Vector factors) {
#if HWY_TARGET == HWY_SCALAR
    const std::int32_t a = hn::GetLane(pairs);
    const std::int32_t b = hn::GetLane(factors);
    const auto low = [](std::int32_t x) { return static_cast<std::int32_t>(static_cast<std::int16_t>(x)); };
    even = hn::Set(d, hn::GetLane(even) + low(a) * low(b) + (a >> 16) * (b >> 16));
#else
    const hn::Repartition<std::int16_t, IntegerTag> d16;
    even = hn::ReorderWidenMulAccumulate(d, hn::BitCast(d16, pairs), hn::BitCast(d16, factors), even, odd);
#endif
  }
  HWY_INLINE auto total() const {
    return hn::ConvertTo(hn::RebindToFloat<IntegerTag>(), hn::RearrangeToOddPlusEven(even, odd));
  }
};

// `lanes` pairs, or quads of bytes.
template <class IntegerTag>
HWY_INLINE hn::Vec<IntegerTag> load_integers(IntegerTag d, const std::byte* from) {
  return hn::LoadU(d, reinterpret_cast<const std::int32_t*>(from));
}
// A pair in every lane.
template <class IntegerTag>
HWY_INLINE hn::Vec<IntegerTag> broadcast_pair(IntegerTag d, const std::int16_t* pair) {
  std::int32_t both = 0;
  std::memcpy(&both, pair, sizeof(both));
  return hn::Set(d, both);
}

// x within 16 bits, rounded, to `to`.
template <class D>
HWY_INLINE void store_rounded(D d, hn::Vec<D> x, std::int16_t* to) {
  // Adding 1.5 * 2^23 leaves the nearest whole number in the low bits of the sum.
  const hn::RebindToUnsigned<D> d32;
  const hn::Rebind<std::uint16_t, D> d16;
  const auto shifted = hn::BitCast(d32, hn::Add(x, hn::Set(d, 12582912.0F)));
  hn::StoreU(hn::TruncateTo(d16, shifted), d16, reinterpret_cast<std::uint16_t*>(to));
}

// As many f16 as a vector has lanes.
template <class D>
HWY_INLINE hn::Vec<D> load_f16(D d, const f16_bits* from) {
  const hn::Rebind<hwy::float16_t, D> half;
  return hn::PromoteTo(d, hn::LoadU(half, reinterpret_cast<const hwy::float16_t*>(integers(from))));
}

}  // namespace HWY_NAMESPACE
}  // namespace thinkey
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
