// Formats (vnni_formats-inl.h) of the types whose codes are looked up.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "backend/cpu/ops/codebook_blocks.h"
#include "backend/cpu/ops/packed_formats.h"
#include "backend/cpu/ops/vnni_formats-inl.h"
#include "base/tensor_type.h"

namespace thinkey::vnni {

// Codes in a table of 16 that is in every quarter of a vector.
template <TensorType kType>
struct Table {
  __m512i entries;
  THINKEY_VNNI_INLINE Table()
      : entries(_mm512_broadcast_i32x4(load128(PackedFormat<kType>::kTable.data()))) {}
  THINKEY_VNNI_INLINE __m512i operator()(__m512i codes) const { return _mm512_shuffle_epi8(entries, codes); }
};

template <>
struct Format<TensorType::IQ4_NL> : NibbleFormat<18, false, 0> {
  static constexpr float kConstant = -PackedFormat<TensorType::IQ4_NL>::kOffset;
  Table<TensorType::IQ4_NL> table;

  THINKEY_VNNI_INLINE Format() = default;
  THINKEY_VNNI_INLINE __m512i codes(const std::uint8_t* group, std::size_t k) const {
    return table(NibbleFormat<18, false, 0>::codes(group, k));
  }
};

// Two blocks' 16 bytes each: low nibbles, then high ones, of the first, then of the second.
struct NibblePairs {
  __m512i shifts, nibble;

  THINKEY_VNNI_INLINE NibblePairs()
      : shifts(_mm512_setr_epi64(0, 0, 4, 4, 0, 0, 4, 4)), nibble(_mm512_set1_epi8(0x0F)) {}
  THINKEY_VNNI_INLINE __m512i operator()(const std::uint8_t* first, const std::uint8_t* second) const {
    const __m512i both = _mm512_castsi256_si512(
        _mm256_inserti128_si256(_mm256_castsi128_si256(load128(first)), load128(second), 1));
    const __m512i twice = _mm512_shuffle_i64x2(both, both, 0b01'01'00'00);
    return _mm512_and_si512(_mm512_srlv_epi64(twice, shifts), nibble);
  }
};

template <>
struct Format<TensorType::IQ4_XS> {  // f16 d, 6 bytes of scales, 8 x 16 bytes
  static constexpr std::size_t kBytes = 136;
  static constexpr bool kBlocks = false;
  static constexpr bool kSixteenths = false;
  static constexpr float kConstant = -PackedFormat<TensorType::IQ4_XS>::kOffset;
  NibblePairs pairs;
  Table<TensorType::IQ4_XS> table;

  THINKEY_VNNI_INLINE Format() = default;
  THINKEY_VNNI_INLINE __m512 factors(const std::uint8_t* group) const {
    const std::array<std::int8_t, 8> scales = unpack_iq4_scales(group);
    std::int64_t eight;
    std::memcpy(&eight, scales.data(), sizeof(eight));
    const __m512i wide = _mm512_cvtepi8_epi32(_mm_set1_epi64x(eight));
    return _mm512_mul_ps(_mm512_cvtepi32_ps(wide), broadcast_half(group));
  }
  THINKEY_VNNI_INLINE __m512i codes(const std::uint8_t* group, std::size_t k) const {
    const std::uint8_t* first = group + 8 + 32 * k;
    return table(pairs(first, first + 16));
  }
};

template <>
struct Format<TensorType::MXFP4> {  // exponent, 16 bytes
  static constexpr std::size_t kBytes = std::size_t{8} * 17;
  static constexpr bool kBlocks = true;
  static constexpr bool kSixteenths = false;
  static constexpr float kConstant = -PackedFormat<TensorType::MXFP4>::kOffset;
  NibblePairs pairs;
  Table<TensorType::MXFP4> table;

  THINKEY_VNNI_INLINE Format() = default;
  THINKEY_VNNI_INLINE __m512 factors(const std::uint8_t* group) const {
    std::uint8_t exponents[8];
    for (std::size_t b = 0; b < 8; ++b) exponents[b] = group[17 * b];
    std::int64_t eight;
    std::memcpy(&eight, exponents, sizeof(eight));
    return mxfp4_scales(_mm512_cvtepu8_epi32(_mm_set1_epi64x(eight)));
  }
  THINKEY_VNNI_INLINE __m512i codes(const std::uint8_t* group, std::size_t k) const {
    const std::uint8_t* first = group + 34 * k;
    return table(pairs(first + 1, first + 18));
  }
};

// IQ1 to IQ3: unpacked a group at a time.
template <TensorType kType>
struct CodebookFormat {
  static constexpr std::size_t kBytes = traits(kType).block_bytes;
  static constexpr bool kBlocks = false;
  static constexpr bool kSixteenths = Codebook<kType>::kSubColumns == 16;
  static constexpr float kConstant = -Codebook<kType>::kLargest;
  mutable CodebookGroup unpacked;

  THINKEY_VNNI_INLINE CodebookFormat() {}  // NOLINT(modernize-use-equals-default): unpacked needs no value
  THINKEY_VNNI_INLINE __m512 factors(const std::uint8_t* group) const {
    unpack_codebook<kType>(group, unpacked);
    __m128i scales = load128(unpacked.scales);
    if constexpr (!kSixteenths) scales = _mm_unpacklo_epi64(scales, scales);
    std::uint8_t d[2];
    std::memcpy(d, &unpacked.d, sizeof(d));
    const __m512 unit = _mm512_mul_ps(broadcast_half(d), _mm512_set1_ps(Codebook<kType>::kUnit));
    return _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(scales)), unit);
  }
  THINKEY_VNNI_INLINE __m512i codes(const std::uint8_t* /*group*/, std::size_t k) const {
    return _mm512_add_epi8(load512(unpacked.values + 64 * k), _mm512_set1_epi8(Codebook<kType>::kLargest));
  }
};
#define THINKEY_CODEBOOK_FORMAT(kType)                                   \
  template <>                                                            \
  struct Format<TensorType::kType> : CodebookFormat<TensorType::kType> { \
    THINKEY_VNNI_INLINE Format() = default;                              \
  }
THINKEY_CODEBOOK_FORMAT(IQ2_XXS);
THINKEY_CODEBOOK_FORMAT(IQ2_XS);
THINKEY_CODEBOOK_FORMAT(IQ2_S);
THINKEY_CODEBOOK_FORMAT(IQ3_XXS);
THINKEY_CODEBOOK_FORMAT(IQ3_S);
THINKEY_CODEBOOK_FORMAT(IQ1_S);
THINKEY_CODEBOOK_FORMAT(IQ1_M);
#undef THINKEY_CODEBOOK_FORMAT

}  // namespace thinkey::vnni
