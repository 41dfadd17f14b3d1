// How matvec_vnni.cpp sees each file type: groups of 256 weights, w[i] = factor[i / 32] * code[i] plus a
// constant per sub-block. A format has
//   kBytes          of a group
//   kBlocks         a row may end after any of a group's eight blocks
//   kSixteenths     a factor for every 16 weights instead of every 32
//   kConstant       what the constants' sum is multiplied with in the end
//   factors(group)  f32 lanes 0-7: factor of each 32 weights, 8-15: the constant of each, over kConstant;
//                   with kSixteenths: factor of each 16, which also is the constant over kConstant ...
//   constants(group) ... unless kMinima: then these are, of each 16. Called after factors(), before codes().
//   codes(group, k) weights 64 k .. 64 k + 63 as unsigned bytes, in order
// Tables are members so that a kernel loads them into registers once.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "backend/cpu/ops/codebook_blocks.h"
#include "backend/cpu/ops/k_quant_scales.h"
#include "backend/cpu/ops/vnni-inl.h"
#include "base/tensor_type.h"

namespace thinkey::vnni {

THINKEY_VNNI_INLINE __m512i load512(const void* p) { return _mm512_loadu_si512(p); }
THINKEY_VNNI_INLINE __m256i load256(const void* p) {
  return _mm256_loadu_si256(static_cast<const __m256i*>(p));
}
THINKEY_VNNI_INLINE __m128i load128(const void* p) { return _mm_loadu_si128(static_cast<const __m128i*>(p)); }
// The same 32 bytes in both halves.
THINKEY_VNNI_INLINE __m512i load256_twice(const void* p) { return _mm512_broadcast_i64x4(load256(p)); }

// Eight 64-bit lanes, as shift counts.
THINKEY_VNNI_INLINE __m512i halves(std::int64_t low, std::int64_t high) {
  return _mm512_setr_epi64(low, low, low, low, high, high, high, high);
}

template <TensorType kType>
struct Format;

// ---- Eight blocks of 32, each with its header. Headers are 16-bit numbers at even offsets, so two
// neighbouring blocks are loaded as one vector of words and sorted by permutation.

// Where the 64 bytes that hold blocks 2 k and 2 k + 1 are loaded: moved back where they would pass the
// group's end.
constexpr std::size_t pair_offset(std::size_t block_bytes, std::size_t k) {
  const std::size_t offset = 2 * k * block_bytes;
  const std::size_t last = 8 * block_bytes - 64;
  return offset < last ? offset : last;
}

using Words = std::array<std::uint16_t, 32>;

// Picks from two pairs (words 0-31: pair k, 32-63: pair k + 1): lanes 4 h .. 4 h + 3 the first word of
// the headers, lanes 8 + 4 h .. their word `second`; h = k / 2.
constexpr Words header_words(std::size_t block_bytes, std::size_t k, std::size_t second) {
  Words words{};
  for (std::size_t i = 0; i < 4; ++i) {
    const std::size_t pair = k + i / 2;
    const std::size_t byte = (2 * k + i) * block_bytes - pair_offset(block_bytes, pair);
    const std::size_t word = 32 * (i / 2) + byte / 2;
    words[2 * k + i] = static_cast<std::uint16_t>(word);
    words[8 + 2 * k + i] = static_cast<std::uint16_t>(word + second);
  }
  return words;
}

// d of blocks 0-7, then their word `kSecond` (0: d again, 1: m), as f32.
template <std::size_t kBlockBytes, std::size_t kSecond>
struct Headers {
  __m512i front, back;

  THINKEY_VNNI_INLINE Headers() {
    alignas(64) static constexpr Words kFront = header_words(kBlockBytes, 0, kSecond);
    alignas(64) static constexpr Words kBack = header_words(kBlockBytes, 2, kSecond);
    front = load512(kFront.data());
    back = load512(kBack.data());
  }
  THINKEY_VNNI_INLINE __m512 operator()(const std::uint8_t* group) const {
    const __m512i low = _mm512_permutex2var_epi16(load512(group + pair_offset(kBlockBytes, 0)), front,
                                                  load512(group + pair_offset(kBlockBytes, 1)));
    const __m512i high = _mm512_permutex2var_epi16(load512(group + pair_offset(kBlockBytes, 2)), back,
                                                   load512(group + pair_offset(kBlockBytes, 3)));
    return _mm512_cvtph_ps(_mm512_castsi512_si256(_mm512_mask_blend_epi16(0xF0F0U, low, high)));
  }
};

template <>
struct Format<TensorType::Q8_0> {  // f16 d, 32 signed codes
  static constexpr std::size_t kBytes = std::size_t{8} * 34;
  static constexpr bool kBlocks = true;
  static constexpr bool kSixteenths = false;
  static constexpr float kConstant = -128.0F;  // codes become unsigned
  Headers<34, 0> factors;
  __m512i sign;

  THINKEY_VNNI_INLINE Format() : sign(_mm512_set1_epi8(-128)) {}
  THINKEY_VNNI_INLINE __m512i codes(const std::uint8_t* group, std::size_t k) const {
    const std::uint8_t* block = group + 68 * k;
    return _mm512_xor_si512(
        sign, _mm512_inserti64x4(_mm512_castsi256_si512(load256(block + 2)), load256(block + 36), 1));
  }
};

// The words of 16 code bytes of both blocks of pair k, each twice.
constexpr Words nibble_words(std::size_t block_bytes, std::size_t k) {
  Words words{};
  for (std::size_t i = 0; i < 32; ++i) {
    const std::size_t block = 2 * k + i / 16;
    const std::size_t byte = block * block_bytes + (block_bytes - 16) - pair_offset(block_bytes, k);
    words[i] = static_cast<std::uint16_t>(byte / 2 + i % 8);
  }
  return words;
}

// A header, perhaps 4 bytes of fifth bits, then 16 bytes whose low nibbles are the first 16 codes.
template <std::size_t kBlockBytes, bool kFifth>
struct NibbleBlocks {
  __m512i words, last_words, shifts, nibble, sixteen;

  THINKEY_VNNI_INLINE NibbleBlocks()
      : shifts(_mm512_setr_epi64(0, 0, 4, 4, 0, 0, 4, 4)),
        nibble(_mm512_set1_epi8(0x0F)),
        sixteen(_mm512_set1_epi8(0x10)) {
    alignas(64) static constexpr Words kWords = nibble_words(kBlockBytes, 0);
    alignas(64) static constexpr Words kLastWords = nibble_words(kBlockBytes, 3);
    words = load512(kWords.data());
    last_words = load512(kLastWords.data());
  }
  THINKEY_VNNI_INLINE __m512i codes(const std::uint8_t* group, std::size_t k) const {
    const __m512i twice =
        _mm512_permutexvar_epi16(k == 3 ? last_words : words, load512(group + pair_offset(kBlockBytes, k)));
    const __m512i low = _mm512_and_si512(_mm512_srlv_epi64(twice, shifts), nibble);
    if constexpr (!kFifth) return low;
    std::uint32_t bits[2];
    const std::uint8_t* block = group + 2 * k * kBlockBytes;
    std::memcpy(bits, block + kBlockBytes - 20, 4);
    std::memcpy(bits + 1, block + 2 * kBlockBytes - 20, 4);
    const __mmask64 fifth = bits[0] | (static_cast<std::uint64_t>(bits[1]) << 32U);
    return _mm512_mask_add_epi8(low, fifth, low, sixteen);
  }
};
static_assert(nibble_words(24, 1) == nibble_words(24, 0) && nibble_words(18, 2) == nibble_words(18, 0));

template <std::size_t kBlockBytes, bool kFifth, std::size_t kSecond>
struct NibbleFormat : NibbleBlocks<kBlockBytes, kFifth> {
  static constexpr std::size_t kBytes = 8 * kBlockBytes;
  static constexpr bool kBlocks = true;
  static constexpr bool kSixteenths = false;
  static constexpr float kConstant = kSecond == 1 ? 1.0F : kFifth ? -16.0F : -8.0F;
  Headers<kBlockBytes, kSecond> factors;

  THINKEY_VNNI_INLINE NibbleFormat() = default;
};
template <>
struct Format<TensorType::Q4_0> : NibbleFormat<18, false, 0> {
  THINKEY_VNNI_INLINE Format() = default;
};
template <>
struct Format<TensorType::Q4_1> : NibbleFormat<20, false, 1> {
  THINKEY_VNNI_INLINE Format() = default;
};
template <>
struct Format<TensorType::Q5_0> : NibbleFormat<22, true, 0> {
  THINKEY_VNNI_INLINE Format() = default;
};
template <>
struct Format<TensorType::Q5_1> : NibbleFormat<24, true, 1> {
  THINKEY_VNNI_INLINE Format() = default;
};

// ---- K-quants: the group is the super-block.

// Q4_K and Q5_K: f16 d, f16 dmin, 12 bytes with 8 scales and 8 minima.
struct SuperScales {
  __m256i spread;

  THINKEY_VNNI_INLINE SuperScales()
      : spread(_mm256_setr_epi16(0x0100, 0x0100, 0x0100, 0x0100, 0x0100, 0x0100, 0x0100, 0x0100, 0x0302,
                                 0x0302, 0x0302, 0x0302, 0x0302, 0x0302, 0x0302, 0x0302)) {}
  THINKEY_VNNI_INLINE __m512 operator()(const std::uint8_t* group) const {
    const SixBitNumbers numbers = unpack_scales_and_minima(group + 4);
    const __m512 codes = _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(load128(numbers.data())));
    const __m256i scales = _mm256_shuffle_epi8(_mm256_broadcastd_epi32(_mm_loadu_si32(group)), spread);
    return _mm512_mul_ps(_mm512_cvtph_ps(scales), codes);
  }
};

// Sub-blocks 2 k and 2 k + 1 are the low and high nibbles of the same 32 bytes.
struct SuperNibbles {
  __m512i shifts, nibble;

  THINKEY_VNNI_INLINE SuperNibbles() : shifts(halves(0, 4)), nibble(_mm512_set1_epi8(0x0F)) {}
  THINKEY_VNNI_INLINE __m512i operator()(const std::uint8_t* nibbles, std::size_t k) const {
    return _mm512_and_si512(_mm512_srlv_epi64(load256_twice(nibbles + 32 * k), shifts), nibble);
  }
};

template <>
struct Format<TensorType::Q4_K> {
  static constexpr std::size_t kBytes = 144;
  static constexpr bool kBlocks = false;
  static constexpr bool kSixteenths = false;
  static constexpr float kConstant = -1.0F;
  SuperScales factors;
  SuperNibbles nibbles;

  THINKEY_VNNI_INLINE Format() = default;
  THINKEY_VNNI_INLINE __m512i codes(const std::uint8_t* group, std::size_t k) const {
    return nibbles(group + 16, k);
  }
};

// 0xF8: a | (b & c).
constexpr int kOrAnd = 0xF8;

template <>
struct Format<TensorType::Q5_K> {  // header, 32 bytes whose bit j is the fifth bit of sub-block j, nibbles
  static constexpr std::size_t kBytes = 176;
  static constexpr bool kBlocks = false;
  static constexpr bool kSixteenths = false;
  static constexpr float kConstant = -1.0F;
  SuperScales factors;
  SuperNibbles nibbles;
  __m512i rotations[4];
  __m512i sixteen;

  THINKEY_VNNI_INLINE Format() : sixteen(_mm512_set1_epi8(0x10)) {
    for (std::int64_t k = 0; k < 4; ++k) {  // bit 2 k (+ 1) to bit 4
      rotations[k] = halves(4 - 2 * k, 3 - 2 * k);
    }
  }
  THINKEY_VNNI_INLINE __m512i codes(const std::uint8_t* group, std::size_t k) const {
    const __m512i fifth = _mm512_rolv_epi64(load256_twice(group + 16), rotations[k]);
    return _mm512_ternarylogic_epi64(nibbles(group + 48, k), fifth, sixteen, kOrAnd);
  }
};

template <>
struct Format<TensorType::Q6_K> {  // 128 bytes of low nibbles, 64 of upper pairs, 16 signed scales, f16 d
  static constexpr std::size_t kBytes = 210;
  static constexpr bool kBlocks = false;
  static constexpr bool kSixteenths = true;
  static constexpr float kConstant = -32.0F;
  __m512i nibble, pair, left, right;

  THINKEY_VNNI_INLINE Format()
      : nibble(_mm512_set1_epi8(0x0F)),
        pair(_mm512_set1_epi8(0x30)),
        left(halves(4, 2)),
        right(halves(0, 2)) {}
  THINKEY_VNNI_INLINE __m512 factors(const std::uint8_t* group) const {
    const __m512 scales = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(load128(group + 192)));
    std::int16_t d;
    std::memcpy(&d, group + 208, sizeof(d));
    return _mm512_mul_ps(scales, _mm512_cvtph_ps(_mm256_set1_epi16(d)));
  }
  // 64 bytes of nibbles are 64 weights and the 64 after them; byte l of 32 pairs has the upper bits of
  // weights l, l + 32, l + 64 and l + 96 of these 128, lowest first.
  THINKEY_VNNI_INLINE __m512i codes(const std::uint8_t* group, std::size_t k) const {
    const __m512i bytes = load512(group + 64 * (k / 2));
    const __m512i pairs = load256_twice(group + 128 + 32 * (k / 2));
    const __m512i low = _mm512_and_si512(k % 2 == 0 ? bytes : _mm512_srli_epi64(bytes, 4), nibble);
    const __m512i upper = k % 2 == 0 ? _mm512_sllv_epi64(pairs, left) : _mm512_srlv_epi64(pairs, right);
    return _mm512_ternarylogic_epi64(low, upper, pair, kOrAnd);
  }
};

THINKEY_VNNI_INLINE __m512 broadcast_half(const std::uint8_t* p) {
  std::int16_t half;
  std::memcpy(&half, p, sizeof(half));
  return _mm512_cvtph_ps(_mm256_set1_epi16(half));
}

// 64 bytes whose pairs of bits are 256 codes, as Q2_K and Q3_K have them.
struct SuperBitPairs {
  __m512i shifts[2];
  __m512i two_bits;

  THINKEY_VNNI_INLINE SuperBitPairs() : two_bits(_mm512_set1_epi8(3)) {
    shifts[0] = halves(0, 2);
    shifts[1] = halves(4, 6);
  }
  THINKEY_VNNI_INLINE __m512i operator()(const std::uint8_t* pairs, std::size_t k) const {
    return _mm512_and_si512(_mm512_srlv_epi64(load256_twice(pairs + 32 * (k / 2)), shifts[k % 2]), two_bits);
  }
};

template <>
struct Format<TensorType::Q2_K> {  // 16 bytes of scales and minima, 64 of pairs, f16 d, f16 dmin
  static constexpr std::size_t kBytes = 84;
  static constexpr bool kBlocks = false;
  static constexpr bool kSixteenths = true;
  static constexpr bool kMinima = true;
  static constexpr float kConstant = -1.0F;
  SuperBitPairs pairs;

  THINKEY_VNNI_INLINE Format() = default;
  THINKEY_VNNI_INLINE __m512 factors(const std::uint8_t* group) const {
    const __m512i both = _mm512_cvtepu8_epi32(load128(group));
    const __m512i scales = _mm512_and_si512(both, _mm512_set1_epi32(15));
    return _mm512_mul_ps(_mm512_cvtepi32_ps(scales), broadcast_half(group + 80));
  }
  THINKEY_VNNI_INLINE __m512 constants(const std::uint8_t* group) const {
    const __m512i minima = _mm512_srli_epi32(_mm512_cvtepu8_epi32(load128(group)), 4);
    return _mm512_mul_ps(_mm512_cvtepi32_ps(minima), broadcast_half(group + 82));
  }
  THINKEY_VNNI_INLINE __m512i codes(const std::uint8_t* group, std::size_t k) const {
    return pairs(group + 16, k);
  }
};

template <>
struct Format<TensorType::Q3_K> {  // 32 bytes of third bits, 64 of pairs, 12 of scales, f16 d
  static constexpr std::size_t kBytes = 110;
  static constexpr bool kBlocks = false;
  static constexpr bool kSixteenths = true;
  static constexpr float kConstant = -4.0F;
  SuperBitPairs pairs;
  __m512i rotations[4];
  __m512i four;

  THINKEY_VNNI_INLINE Format() : four(_mm512_set1_epi8(4)) {
    for (std::int64_t k = 0; k < 4; ++k) {  // bit 2 k (+ 1) to bit 2
      rotations[k] = halves(2 - 2 * k, 1 - 2 * k);
    }
  }
  THINKEY_VNNI_INLINE __m512 factors(const std::uint8_t* group) const {
    const SixBitNumbers numbers = unpack_sixteen_scales(group + 96);
    const __m512i scales =
        _mm512_sub_epi32(_mm512_cvtepu8_epi32(load128(numbers.data())), _mm512_set1_epi32(32));
    return _mm512_mul_ps(_mm512_cvtepi32_ps(scales), broadcast_half(group + 108));
  }
  THINKEY_VNNI_INLINE __m512i codes(const std::uint8_t* group, std::size_t k) const {
    const __m512i third = _mm512_rolv_epi64(load256_twice(group), rotations[k]);
    return _mm512_ternarylogic_epi64(pairs(group + 32, k), third, four, kOrAnd);
  }
};

}  // namespace thinkey::vnni
