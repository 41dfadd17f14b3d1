// Codes of a block as f32 vectors: the load functors that let one attention kernel serve every
// quantized format. Widening happens in registers. Included once per Highway target.

#if defined(THINKEY_BLOCK_ELEMENTS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef THINKEY_BLOCK_ELEMENTS_INL_H_
#undef THINKEY_BLOCK_ELEMENTS_INL_H_
#else
#define THINKEY_BLOCK_ELEMENTS_INL_H_
#endif

#include <cstdint>
#include <cstring>

#include "cache/block.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace thinkey {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using FloatTag = hn::CappedTag<float, 16>;  // a unit is two such vectors, or more where vectors are shorter
using FloatVector = hn::Vec<FloatTag>;

// Elements i .. i + lanes - 1 of the unit that starts at `unit`; i is a multiple of the lanes. A unit has
// kCount elements: 32, or 32 pairs. Codes come as whole numbers; scale and minimum are the caller's.
template <ElementFormat kFormat>
struct Elements;

// `lanes` bytes at `from`, each widened to 32 bits.
HWY_INLINE auto load_bytes(FloatTag d, const std::byte* from) {
  const hn::RebindToSigned<FloatTag> d32;
  const hn::Rebind<std::uint8_t, FloatTag> d8;
  (void)d;
  return hn::PromoteTo(d32, hn::LoadU(d8, reinterpret_cast<const std::uint8_t*>(from)));
}

template <>
struct Elements<ElementFormat::Q8> {
  static constexpr std::size_t kCount = kUnit;
  static HWY_INLINE FloatVector load(FloatTag d, const std::byte* unit, std::size_t i) {
    return hn::ConvertTo(d, load_bytes(d, unit + i));
  }
};

template <>
struct Elements<ElementFormat::Q4> {
  static constexpr std::size_t kCount = 2 * kUnit;
  static HWY_INLINE FloatVector load(FloatTag d, const std::byte* unit, std::size_t i) {
    const hn::RebindToSigned<FloatTag> d32;
    const auto bytes = load_bytes(d, unit + i % 32);
    const auto code = i < 32 ? hn::And(bytes, hn::Set(d32, 15)) : hn::ShiftRight<4>(bytes);
    return hn::ConvertTo(d, code);
  }
};

template <>
struct Elements<ElementFormat::Q2> {
  static constexpr std::size_t kCount = 2 * kUnit;
  static HWY_INLINE FloatVector load(FloatTag d, const std::byte* unit, std::size_t i) {
    const hn::RebindToSigned<FloatTag> d32;
    const hn::RebindToUnsigned<FloatTag> du32;
    const auto bytes = hn::BitCast(du32, load_bytes(d, unit + i % 16));
    const auto shift = hn::Set(du32, static_cast<std::uint32_t>(2 * (i / 16)));
    return hn::ConvertTo(d, hn::And(hn::BitCast(d32, hn::Shr(bytes, shift)), hn::Set(d32, 3)));
  }
};

// As many f16 as a vector has lanes.
HWY_INLINE FloatVector load_f16(FloatTag d, const f16_bits* from) {
  const hn::Rebind<hwy::float16_t, FloatTag> half;
  return hn::PromoteTo(d, hn::LoadU(half, reinterpret_cast<const hwy::float16_t*>(from)));
}

// What the elements of a vector are multiplied with: the one number at `x`, or the two of a pair by turns.
// `vector` counts vectors from the unit's start; only single lanes care.
template <std::size_t kPair>
HWY_INLINE FloatVector broadcast(FloatTag d, const float* x, std::size_t vector) {
  if constexpr (kPair == 1 || HWY_TARGET == HWY_SCALAR) {
    return hn::Set(d, x[vector % kPair]);
  } else {
    const hn::Repartition<std::uint64_t, FloatTag> d64;
    std::uint64_t both = 0;
    std::memcpy(&both, x, sizeof(both));
    return hn::BitCast(d, hn::Set(d64, both));
  }
}

// The sums of neighbouring lanes: of `low` in the lower half, of `high` in the upper.
HWY_INLINE FloatVector sum_pairs(FloatTag d, FloatVector low, FloatVector high) {
#if HWY_TARGET == HWY_SCALAR
  (void)d;
  return hn::Add(low, high);
#else
  return hn::Add(hn::ConcatEven(d, high, low), hn::ConcatOdd(d, high, low));
#endif
}

}  // namespace HWY_NAMESPACE
}  // namespace thinkey
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
