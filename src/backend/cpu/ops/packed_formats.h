// How packed_matrix.h lays out each file type. A group is 16 rows x 256 columns, everything in the order in
// which it is read: a line that lies before what was read last is not fetched ahead.
//   pairs   4, of 32-column blocks: codes, then scales
//           codes  kBits = 8: [8 quads][first, second block][16 rows][4 columns]
//                  kBits = 4: nibbles [8 quads][16][4], low ones of the first block, high ones of the second
//                  kBits = 5: fifth bits, a 64-bit mask per quad, [8][first, second block]; then the nibbles
//                  kBits = 6: [4] of: nibbles of a quad, then 64 bytes with the upper pairs of bits of
//                  (first, second) block of this quad, then of the next; nibbles of the next
//                  kBits = 2: [4][16][4], pairs of bits of (first, second) block of a quad, then of the next
//                  kBits = 3: third bits as masks, as the fifth ones; then the pairs of bits
//           scales [sub-blocks of the pair][scale, with kMinimum minimum][16]; f16, or bytes. Where a pair
//           has
//                  half a line of them, those of the second pair of two lie beside those of the first.
//   d       PackedScale::Bytes: f16 [16], with kMinimum dmin [16]
// A weight is d * kUnit * scale * (code - kOffset), or with kMinimum d * scale * code - dmin * minimum
// (Bytes) or scale * code + minimum (F16). With a table the code is what the table has in place of the stored
// number.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

#include "backend/cpu/ops/codebook_blocks.h"
#include "backend/cpu/ops/iq_grids.h"
#include "backend/cpu/ops/packed_matrix.h"
#include "base/tensor_type.h"

namespace thinkey {

// F16: a number of its own. Bytes: whole numbers that d is multiplied with. Exponents: of 2, as MXFP4 has
// them.
enum class PackedScale : std::uint8_t { F16, Bytes, Exponents };

template <TensorType kType>
struct PackedFormat;

template <std::size_t kBitsOf, int kOffsetOf, bool kMinimumOf, PackedScale kScaleOf,
          std::size_t kSubColumnsOf = 32>
struct PackedLayout {
  static constexpr std::size_t kBits = kBitsOf;
  static constexpr int kOffset = kOffsetOf;
  static constexpr bool kMinimum = kMinimumOf;
  static constexpr PackedScale kScale = kScaleOf;
  static constexpr bool kSuper = kScale == PackedScale::Bytes;
  static constexpr float kUnit = 1;
  static constexpr std::array<std::uint8_t, 0> kTable{};
  static constexpr std::size_t kSubColumns = kSubColumnsOf;  // that share a scale
  static constexpr std::size_t kSubs = kInt8Group / kSubColumns;
  static constexpr std::size_t kKinds = kMinimum ? 2 : 1;
  static constexpr std::size_t kPairSubs = 2 * kInt8Block / kSubColumns;
  static constexpr std::size_t kScaleBytes =
      kPackedPanel * (kScale == PackedScale::F16 ? 2 : 1);  // of one kind
  static constexpr std::size_t kMaskBytes = kBits == 5 || kBits == 3 ? kPackedPanel * kInt8Block / 4 : 0;
  static constexpr std::size_t kCodeBytes = kPackedPanel * 2 * kInt8Block * kBits / 8;  // of a pair
  static constexpr std::size_t kPairScaleBytes = kPairSubs * kKinds * kScaleBytes;
  static constexpr bool kSharedLine = kPairScaleBytes == 32;
  static constexpr std::size_t kTwoPairs = 2 * (kCodeBytes + kPairScaleBytes);
  static constexpr std::size_t kSuperAt = kInt8Group / (4 * kInt8Block) * kTwoPairs;  // in a group
  static constexpr std::size_t kGroupBytes = kSuperAt + (kSuper ? 64 : 0);
  // Inside a group: a pair's codes, and a sub-block's scales (kind 0) or minima (1).
  static constexpr std::size_t pair_at(std::size_t pair) noexcept {
    const std::size_t before = kCodeBytes + (kSharedLine ? 64 : kPairScaleBytes);
    return pair / 2 * kTwoPairs + pair % 2 * before;
  }
  static constexpr std::size_t scales_at(std::size_t sub, std::size_t kind) noexcept {
    const std::size_t pair = sub / kPairSubs;
    const std::size_t first =
        kSharedLine ? pair_at(pair - pair % 2) + pair % 2 * kPairScaleBytes : pair_at(pair);
    return first + kCodeBytes + (sub % kPairSubs * kKinds + kind) * kScaleBytes;
  }
  // Inside a pair: of a quad's nibbles, of the upper bits of 6-bit codes, and of the pairs of bits.
  static constexpr std::size_t nibbles_at(std::size_t quad) noexcept {
    return kMaskBytes + 64 * (kBits == 6 ? quad + (quad + 1) / 2 : quad);
  }
  static constexpr std::size_t upper_at(std::size_t quad) noexcept { return 64 * (3 * (quad / 2) + 1); }
  static constexpr std::size_t bit_pairs_at(std::size_t quad) noexcept {
    return kMaskBytes + 64 * (quad / 2);
  }
  static_assert(kGroupBytes % 64 == 0 && kCodeBytes % 64 == 0 && (kSharedLine || kPairScaleBytes % 64 == 0));
};

using PackedTable = std::array<std::uint8_t, 16>;

// Values plus what makes them unsigned.
template <std::size_t kValues>
constexpr PackedTable packed_table(const std::array<std::int8_t, kValues>& values, int offset) {
  PackedTable table{};
  for (std::size_t i = 0; i < kValues; ++i) table[i] = static_cast<std::uint8_t>(values[i] + offset);
  return table;
}
// Magnitudes, then their negatives.
template <std::size_t kValues>
constexpr PackedTable signed_table(const std::array<std::int8_t, kValues>& magnitudes, int offset) {
  std::array<std::int8_t, 2 * kValues> values{};
  for (std::size_t i = 0; i < kValues; ++i) {
    values[i] = magnitudes[i];
    values[kValues + i] = static_cast<std::int8_t>(-magnitudes[i]);
  }
  return packed_table(values, offset);
}

template <>
struct PackedFormat<TensorType::Q8_0> : PackedLayout<8, 128, false, PackedScale::F16> {};
template <>
struct PackedFormat<TensorType::Q4_0> : PackedLayout<4, 8, false, PackedScale::F16> {};
template <>
struct PackedFormat<TensorType::Q4_1> : PackedLayout<4, 0, true, PackedScale::F16> {};
template <>
struct PackedFormat<TensorType::Q5_0> : PackedLayout<5, 16, false, PackedScale::F16> {};
template <>
struct PackedFormat<TensorType::Q5_1> : PackedLayout<5, 0, true, PackedScale::F16> {};
template <>
struct PackedFormat<TensorType::Q4_K> : PackedLayout<4, 0, true, PackedScale::Bytes> {};
template <>
struct PackedFormat<TensorType::Q5_K> : PackedLayout<5, 0, true, PackedScale::Bytes> {};
template <>
struct PackedFormat<TensorType::Q6_K> : PackedLayout<6, 32, false, PackedScale::Bytes, 16> {};
template <>
struct PackedFormat<TensorType::Q2_K> : PackedLayout<2, 0, true, PackedScale::Bytes, 16> {};
template <>
struct PackedFormat<TensorType::Q3_K> : PackedLayout<3, 4, false, PackedScale::Bytes, 16> {};
template <>
struct PackedFormat<TensorType::IQ4_NL> : PackedLayout<4, 128, false, PackedScale::F16> {
  static constexpr PackedTable kTable = packed_table(kIq4Values, kOffset);
};
template <>
struct PackedFormat<TensorType::IQ4_XS> : PackedLayout<4, 128, false, PackedScale::Bytes> {
  static constexpr PackedTable kTable = packed_table(kIq4Values, kOffset);
};
template <>
struct PackedFormat<TensorType::MXFP4> : PackedLayout<4, 12, false, PackedScale::Exponents> {
  static constexpr PackedTable kTable = packed_table(kMxfp4Values, kOffset);
};

template <TensorType kType, std::size_t kBitsOf>
struct PackedCodebook : PackedLayout<kBitsOf, Codebook<kType>::kLargest, false, PackedScale::Bytes,
                                     Codebook<kType>::kSubColumns> {
  static constexpr float kUnit = Codebook<kType>::kUnit;
};
template <TensorType kType>
struct PackedIq2 : PackedCodebook<kType, 3> {
  static constexpr PackedTable kTable = signed_table(kIq2Magnitudes, Codebook<kType>::kLargest);
};
template <TensorType kType>
struct PackedIq1 : PackedCodebook<kType, 3> {  // 8 g + 1 and 8 g - 1, g from -1 to 1
  static constexpr PackedTable kTable =
      packed_table(std::array<std::int8_t, 6>{-9, -7, -1, 1, 7, 9}, Codebook<kType>::kLargest);
};
template <>
struct PackedFormat<TensorType::IQ2_XXS> : PackedIq2<TensorType::IQ2_XXS> {};
template <>
struct PackedFormat<TensorType::IQ2_XS> : PackedIq2<TensorType::IQ2_XS> {};
template <>
struct PackedFormat<TensorType::IQ2_S> : PackedIq2<TensorType::IQ2_S> {};
template <>
struct PackedFormat<TensorType::IQ3_XXS> : PackedCodebook<TensorType::IQ3_XXS, 4> {
  static constexpr PackedTable kTable = signed_table(kIq3Magnitudes, kOffset);
};
template <>
struct PackedFormat<TensorType::IQ3_S> : PackedCodebook<TensorType::IQ3_S, 4> {
  static constexpr PackedTable kTable = signed_table(kIq3SMagnitudes, kOffset);
};
template <>
struct PackedFormat<TensorType::IQ1_S> : PackedIq1<TensorType::IQ1_S> {};
template <>
struct PackedFormat<TensorType::IQ1_M> : PackedIq1<TensorType::IQ1_M> {};

}  // namespace thinkey
