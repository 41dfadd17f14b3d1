// How packed_matrix.h lays out each file type. A group is 16 rows x 256 columns, everything in the order in
// which it is read: a line that lies before what was read last is not fetched ahead.
//   pairs   4, of 32-column blocks: codes, then scales
//           codes  kBits = 8: [8 quads][first, second block][16 rows][4 columns]
//                  kBits = 4: nibbles [8 quads][16][4], low ones of the first block, high ones of the second
//                  kBits = 5: fifth bits, a 64-bit mask per quad, [8][first, second block]; then the nibbles
//                  kBits = 6: [4] of: nibbles of a quad, then 64 bytes with the upper pairs of bits of
//                  (first, second) block of this quad, then of the next; nibbles of the next
//           scales [sub-blocks of the pair][scale, with kMinimum minimum][16]; kSuper: 8 bits, else f16
//   d       kSuper: f16 [16], with kMinimum dmin [16]
// A weight is d * scale * (code - kOffset), or with kMinimum d * scale * code - dmin * minimum (kSuper) or
// scale * code + minimum.
#pragma once

#include <cstddef>

#include "base/tensor_type.h"
#include "ops/packed_matrix.h"

namespace thinkey {

template <TensorType kType>
struct PackedFormat;

template <std::size_t kBitsOf, int kOffsetOf, bool kMinimumOf, bool kSuperOf, std::size_t kSubColumnsOf = 32>
struct PackedLayout {
  static constexpr std::size_t kBits = kBitsOf;
  static constexpr int kOffset = kOffsetOf;
  static constexpr bool kMinimum = kMinimumOf;
  static constexpr bool kSuper = kSuperOf;
  static constexpr std::size_t kSubColumns = kSubColumnsOf;  // that share a scale
  static constexpr std::size_t kSubs = kInt8Group / kSubColumns;
  static constexpr std::size_t kKinds = kMinimum ? 2 : 1;
  static constexpr std::size_t kPairSubs = 2 * kInt8Block / kSubColumns;
  static constexpr std::size_t kScaleBytes = kPackedPanel * (kSuper ? 1 : 2);  // of one sub-block and kind
  static constexpr std::size_t kMaskBytes = kBits == 5 ? kPackedPanel * kInt8Block / 4 : 0;
  static constexpr std::size_t kScalesAt = kPackedPanel * 2 * kInt8Block * kBits / 8;  // in a pair
  static constexpr std::size_t kPairBytes = kScalesAt + kPairSubs * kKinds * kScaleBytes;
  static constexpr std::size_t kSuperAt = kInt8Group / (2 * kInt8Block) * kPairBytes;  // in a group
  static constexpr std::size_t kGroupBytes = kSuperAt + (kSuper ? 64 : 0);
  // Inside a pair: of a quad's nibbles, and of the upper bits of 6-bit codes.
  static constexpr std::size_t nibbles_at(std::size_t quad) noexcept {
    return kMaskBytes + 64 * (kBits == 6 ? quad + (quad + 1) / 2 : quad);
  }
  static constexpr std::size_t upper_at(std::size_t quad) noexcept { return 64 * (3 * (quad / 2) + 1); }
  // Inside a group: of a sub-block's scales (kind 0) or minima (1).
  static constexpr std::size_t scales_at(std::size_t sub, std::size_t kind) noexcept {
    return sub / kPairSubs * kPairBytes + kScalesAt + (sub % kPairSubs * kKinds + kind) * kScaleBytes;
  }
  static_assert(kGroupBytes % 64 == 0);
};

template <>
struct PackedFormat<TensorType::Q8_0> : PackedLayout<8, 128, false, false> {};
template <>
struct PackedFormat<TensorType::Q4_0> : PackedLayout<4, 8, false, false> {};
template <>
struct PackedFormat<TensorType::Q4_1> : PackedLayout<4, 0, true, false> {};
template <>
struct PackedFormat<TensorType::Q5_0> : PackedLayout<5, 16, false, false> {};
template <>
struct PackedFormat<TensorType::Q5_1> : PackedLayout<5, 0, true, false> {};
template <>
struct PackedFormat<TensorType::Q4_K> : PackedLayout<4, 0, true, true> {};
template <>
struct PackedFormat<TensorType::Q5_K> : PackedLayout<5, 0, true, true> {};
template <>
struct PackedFormat<TensorType::Q6_K> : PackedLayout<6, 32, false, true, 16> {};

// body.template operator()<type>() for a type below 16 bits; what it returns, or R() for another type.
template <typename R, typename Body>
R visit_packed(TensorType type, const Body& body) {
  switch (type) {
    case TensorType::Q8_0:
      return body.template operator()<TensorType::Q8_0>();
    case TensorType::Q4_0:
      return body.template operator()<TensorType::Q4_0>();
    case TensorType::Q4_1:
      return body.template operator()<TensorType::Q4_1>();
    case TensorType::Q5_0:
      return body.template operator()<TensorType::Q5_0>();
    case TensorType::Q5_1:
      return body.template operator()<TensorType::Q5_1>();
    case TensorType::Q4_K:
      return body.template operator()<TensorType::Q4_K>();
    case TensorType::Q5_K:
      return body.template operator()<TensorType::Q5_K>();
    case TensorType::Q6_K:
      return body.template operator()<TensorType::Q6_K>();
    case TensorType::F32:
    case TensorType::F16:
    case TensorType::BF16:
      break;
  }
  return R();
}

}  // namespace thinkey
