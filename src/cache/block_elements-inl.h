// Elements of a block as f32 vectors: the load functors that let one attention kernel serve every
// storage format. Widening happens in registers. Included once per Highway target.

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

// Elements i .. i + lanes - 1 of the unit of 32 that starts at `unit`; i is a multiple of the lanes.
// Codes come as whole numbers; scale and minimum are the caller's.
template <ElementFormat kFormat>
struct Elements;

template <>
struct Elements<ElementFormat::F16> {
  static HWY_INLINE FloatVector load(FloatTag d, const std::byte* unit, std::size_t i) {
    const hn::Rebind<hwy::float16_t, FloatTag> half;
    return hn::PromoteTo(d, hn::LoadU(half, reinterpret_cast<const hwy::float16_t*>(unit) + i));
  }
};

// `lanes` bytes at `from`, each widened to 32 bits.
HWY_INLINE auto load_bytes(FloatTag d, const std::byte* from) {
  const hn::RebindToSigned<FloatTag> d32;
  const hn::Rebind<std::uint8_t, FloatTag> d8;
  (void)d;
  return hn::PromoteTo(d32, hn::LoadU(d8, reinterpret_cast<const std::uint8_t*>(from)));
}

template <>
struct Elements<ElementFormat::Q8> {
  static HWY_INLINE FloatVector load(FloatTag d, const std::byte* unit, std::size_t i) {
    return hn::ConvertTo(d, load_bytes(d, unit + i));
  }
};

template <>
struct Elements<ElementFormat::Q4> {
  static HWY_INLINE FloatVector load(FloatTag d, const std::byte* unit, std::size_t i) {
    const hn::RebindToSigned<FloatTag> d32;
    const auto bytes = load_bytes(d, unit + i % 16);
    const auto code = i < 16 ? hn::And(bytes, hn::Set(d32, 15)) : hn::ShiftRight<4>(bytes);
    return hn::ConvertTo(d, code);
  }
};

template <>
struct Elements<ElementFormat::Q2> {
  static HWY_INLINE FloatVector load(FloatTag d, const std::byte* unit, std::size_t i) {
    const hn::RebindToSigned<FloatTag> d32;
    const hn::RebindToUnsigned<FloatTag> du32;
    const auto mask = hn::Set(d32, 3);
#if HWY_MAX_BYTES >= 64
    if (hn::Lanes(d) == 16) {  // planes i / 8 and i / 8 + 1 side by side: the 8 bytes twice, shifted apart
      const hn::Rebind<std::uint8_t, FloatTag> d8;
      const hn::Repartition<std::uint64_t, decltype(d8)> d64;
      std::uint64_t word = 0;
      std::memcpy(&word, unit, sizeof(word));
      const auto bytes = hn::PromoteTo(du32, hn::BitCast(d8, hn::Set(d64, word)));
      const auto lane = hn::Iota(du32, 0);
      const auto shift = hn::Add(hn::ShiftLeft<1>(hn::ShiftRight<3>(lane)),
                                 hn::Set(du32, static_cast<std::uint32_t>(i / 4)));
      return hn::ConvertTo(d, hn::And(hn::BitCast(d32, hn::Shr(bytes, shift)), mask));
    }
#endif
    const auto bytes = load_bytes(d, unit + i % 8);
    const auto shift = hn::Set(du32, static_cast<std::uint32_t>(2 * (i / 8)));
    return hn::ConvertTo(d, hn::And(hn::BitCast(d32, hn::Shr(hn::BitCast(du32, bytes), shift)), mask));
  }
};

// As many f16 as a vector has lanes.
HWY_INLINE FloatVector load_f16(FloatTag d, const f16_bits* from) {
  return Elements<ElementFormat::F16>::load(d, reinterpret_cast<const std::byte*>(from), 0);
}

}  // namespace HWY_NAMESPACE
}  // namespace thinkey
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
