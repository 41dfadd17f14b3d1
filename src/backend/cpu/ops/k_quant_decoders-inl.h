// Decoders (block_decoders-inl.h) of the K-quants: super-blocks of 256 whose sub-blocks have 6- or 8-bit
// scales.

#if defined(THINKEY_OPS_K_QUANT_DECODERS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef THINKEY_OPS_K_QUANT_DECODERS_INL_H_
#undef THINKEY_OPS_K_QUANT_DECODERS_INL_H_
#else
#define THINKEY_OPS_K_QUANT_DECODERS_INL_H_
#endif

#include <hwy/cache_control.h>
#include <hwy/highway.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "backend/cpu/ops/block_decoders-inl.h"
#include "backend/cpu/ops/convert-inl.h"
#include "backend/cpu/ops/k_quant_scales.h"
#include "base/tensor_type.h"

HWY_BEFORE_NAMESPACE();
namespace thinkey::HWY_NAMESPACE {

// Scales (and codes of more than four bits) of kGroup super-blocks are unpacked first: the long chain
// from a packed scale to a finished weight would otherwise stall every super-block.

constexpr std::size_t kGroup = 8;

// Byte vectors for bit work on codes before they are widened.
using ByteTag = hn::CappedTag<std::uint8_t, 32>;

// Asks for the cache lines of a later block. Packed rows follow one another, so this also opens the next
// row; an address past the matrix does no harm. (5 to 10 % on Q4_K and Q5_K; small blocks need no help.)
template <std::size_t kBytes>
HWY_INLINE void prefetch_ahead(const std::uint8_t* block) {
  constexpr std::uintptr_t kDistance = 2048;
  const auto later = reinterpret_cast<std::uintptr_t>(block) + kDistance;  // a pointer must stay in its array
  for (std::size_t line = 0; line < kBytes; line += 64) {
    hwy::Prefetch(reinterpret_cast<const std::uint8_t*>(later + line));  // NOLINT(performance-no-int-to-ptr)
  }
}

// The header of Q4_K and Q5_K: f16 d, f16 dmin, 12 bytes of scales and minima. Writes d * scale[0..7], then
// -dmin * minimum[0..7].
HWY_INLINE void unpack_scales(const std::uint8_t* header, float* scales) {
  const SixBitNumbers numbers = unpack_scales_and_minima(header + 4);
  alignas(16) std::uint8_t bytes[16];
  std::memcpy(bytes, numbers.data(), sizeof(bytes));

  const hn::CappedTag<float, 8> d8;
  const auto d = broadcast_f16(d8, header);
  const auto minus_dmin = hn::Neg(broadcast_f16(d8, header + 2));
  for (std::size_t j = 0; j < 8; j += hn::Lanes(d8)) {
    hn::Store(hn::Mul(d, f32_from_codes(d8, bytes + j)), d8, scales + j);
    hn::Store(hn::Mul(minus_dmin, f32_from_codes(d8, bytes + 8 + j)), d8, scales + 8 + j);
  }
}

// Header of 16 bytes, then 128 bytes: 4 x (32 low nibbles, then the same bytes' 32 high ones).
template <>
struct Decode<TensorType::Q4_K> {
  static constexpr std::size_t kElements = 256, kBytes = 144;
  static constexpr bool kPlain = false;
  template <class D, class Sink>
  static HWY_INLINE void decode(D d, const std::uint8_t* block, std::size_t count, Sink& sink) {
    const std::size_t lanes = hn::Lanes(d);
    HWY_ALIGN float scales[16 * kGroup];
    std::size_t e = 0;
    for (std::size_t done = 0; done < count; done += kGroup) {
      const std::size_t n = std::min(kGroup, count - done);
      for (std::size_t k = 0; k < n; ++k) unpack_scales(block + k * kBytes, scales + 16 * k);
      for (std::size_t k = 0; k < n; ++k, block += kBytes) {
        const std::uint8_t* codes = block + 16;
        prefetch_ahead<kBytes>(block);
        for (const float* scale = scales + 16 * k; scale < scales + 16 * k + 8;
             scale += 2, codes += 32, e += 64) {
          const auto even = Nibbles<D>::affine(d, hn::Set(d, scale[0]), hn::Set(d, scale[8]));
          const auto odd = Nibbles<D>::affine(d, hn::Set(d, scale[1]), hn::Set(d, scale[9]));
          for (std::size_t i = 0; i < 32; i += 2 * lanes) {
            const auto first = widen_bytes(d, codes + i);
            const auto second = widen_bytes(d, codes + i + lanes);
            sink.template emit<0>(e + i, even.low(first));
            sink.template emit<1>(e + i + lanes, even.low(second));
            sink.template emit<2>(e + 32 + i, odd.high(first));
            sink.template emit<3>(e + 32 + i + lanes, odd.high(second));
          }
        }
      }
    }
  }
};

// Header of 16 bytes, 32 bytes whose bit j is the fifth bit of sub-block j, then 128 bytes as in Q4_K.
template <>
struct Decode<TensorType::Q5_K> {
  static constexpr std::size_t kElements = 256, kBytes = 176;
  static constexpr bool kPlain = false;
  template <class D, class Sink>
  static HWY_INLINE void decode(D d, const std::uint8_t* block, std::size_t count, Sink& sink) {
    const std::size_t lanes = hn::Lanes(d);
    HWY_ALIGN float scales[16 * kGroup];
    HWY_ALIGN std::uint8_t codes[256 * kGroup];
    std::size_t base = 0;
    for (std::size_t done = 0; done < count; done += kGroup, base += 256 * kGroup) {
      const std::size_t n = std::min(kGroup, count - done);
      for (std::size_t k = 0; k < n; ++k, block += kBytes) {
        prefetch_ahead<kBytes>(block);
        unpack_scales(block, scales + 16 * k);
        unpack(block + 16, block + 48, codes + 256 * k);
      }
      std::size_t e = 0;
      for (const float* scale = scales; scale < scales + 16 * n; scale += 16) {
        for (std::size_t j = 0; j < 8; j += 2, e += 64) {
          const ScaleAndMinimum<D> even{hn::Set(d, scale[j]), hn::Set(d, scale[j + 8])};
          const ScaleAndMinimum<D> odd{hn::Set(d, scale[j + 1]), hn::Set(d, scale[j + 9])};
          for (std::size_t i = e; i < e + 32; i += 2 * lanes) {
            sink.template emit<0>(base + i, even(f32_from_codes(d, codes + i)));
            sink.template emit<1>(base + i + lanes, even(f32_from_codes(d, codes + i + lanes)));
            sink.template emit<2>(base + i + 32, odd(f32_from_codes(d, codes + i + 32)));
            sink.template emit<3>(base + i + 32 + lanes, odd(f32_from_codes(d, codes + i + 32 + lanes)));
          }
        }
      }
    }
  }

 private:
  static HWY_INLINE void unpack(const std::uint8_t* fifth, const std::uint8_t* nibbles, std::uint8_t* codes) {
    const ByteTag d;
    const auto sixteen = hn::Set(d, 16);
    for (std::size_t j = 0; j < 8; j += 2, nibbles += 32) {
      const auto even_bit = hn::Set(d, static_cast<std::uint8_t>(1U << j));
      const auto odd_bit = hn::Set(d, static_cast<std::uint8_t>(2U << j));
      for (std::size_t i = 0; i < 32; i += hn::Lanes(d)) {
        const auto bytes = hn::LoadU(d, nibbles + i);
        const auto bits = hn::LoadU(d, fifth + i);
        const auto low = hn::And(bytes, hn::Set(d, 15));
        const auto high = hn::ShiftRight<4>(bytes);
        hn::Store(hn::Or(low, hn::IfThenElseZero(hn::TestBit(bits, even_bit), sixteen)), d,
                  codes + 32 * j + i);
        hn::Store(hn::Or(high, hn::IfThenElseZero(hn::TestBit(bits, odd_bit), sixteen)), d,
                  codes + 32 * j + 32 + i);
      }
    }
  }
};

// Elements of n super-blocks, signed codes times a scale for every 16; the first one's number is `base`.
template <class D, class Sink>
HWY_INLINE void emit_sixteenths(D d, const std::int8_t* codes, const float* scales, std::size_t n,
                                std::size_t base, Sink& sink) {
  const std::size_t lanes = hn::Lanes(d);
  const std::int8_t* code = codes;
  for (const float* scale = scales; scale < scales + 16 * n; scale += 4) {
    for (std::size_t j = 0; j < 16; j += lanes, code += lanes) {
      const std::size_t i = base + static_cast<std::size_t>(code - codes);
      sink.template emit<0>(i, hn::Mul(hn::Set(d, scale[0]), f32_from_codes(d, code)));
      sink.template emit<1>(i + 16, hn::Mul(hn::Set(d, scale[1]), f32_from_codes(d, code + 16)));
      sink.template emit<2>(i + 32, hn::Mul(hn::Set(d, scale[2]), f32_from_codes(d, code + 32)));
      sink.template emit<3>(i + 48, hn::Mul(hn::Set(d, scale[3]), f32_from_codes(d, code + 48)));
    }
    code += 48;
  }
}

// 128 bytes of low nibbles, 64 of upper bit pairs, 16 signed scales, f16 d.
template <>
struct Decode<TensorType::Q6_K> {
  static constexpr std::size_t kElements = 256, kBytes = 210;
  static constexpr bool kPlain = false;
  template <class D, class Sink>
  static HWY_INLINE void decode(D d, const std::uint8_t* block, std::size_t count, Sink& sink) {
    const std::size_t lanes = hn::Lanes(d);
    HWY_ALIGN float scales[16 * kGroup];
    HWY_ALIGN std::int8_t codes[256 * kGroup];
    std::size_t base = 0;
    for (std::size_t done = 0; done < count; done += kGroup, base += 256 * kGroup) {
      const std::size_t n = std::min(kGroup, count - done);
      for (std::size_t k = 0; k < n; ++k, block += kBytes) {
        prefetch_ahead<kBytes>(block);
        const auto super_scale = broadcast_f16(d, block + 208);
        const auto* scale_codes = reinterpret_cast<const std::int8_t*>(block + 192);
        for (std::size_t g = 0; g < 16; g += lanes) {
          hn::Store(hn::Mul(super_scale, f32_from_codes(d, scale_codes + g)), d, scales + 16 * k + g);
        }
        unpack(block, codes + 256 * k);
      }
      emit_sixteenths(d, codes, scales, n, base, sink);
    }
  }

 private:
  // In each half of 128 elements, bytes l and l + 32 of the nibbles hold elements l, l + 32 (low) and
  // l + 64, l + 96 (high); byte l of the pairs holds the upper bits of all four, lowest first.
  static HWY_INLINE void unpack(const std::uint8_t* block, std::int8_t* codes) {
    const ByteTag d;
    auto* out = reinterpret_cast<std::uint8_t*>(codes);
    const auto low_bits = hn::Set(d, 0x0F);
    const auto pair_bits = hn::Set(d, 0x30);
    const auto center = hn::Set(d, 32);
    for (std::size_t half = 0; half < 2; ++half, out += 128) {
      const std::uint8_t* nibbles = block + 64 * half;
      const std::uint8_t* pairs = block + 128 + 32 * half;
      for (std::size_t i = 0; i < 32; i += hn::Lanes(d)) {
        const auto a = hn::LoadU(d, nibbles + i);
        const auto b = hn::LoadU(d, nibbles + 32 + i);
        const auto p = hn::LoadU(d, pairs + i);
        const auto code0 = hn::Or(hn::And(a, low_bits), hn::And(hn::ShiftLeft<4>(p), pair_bits));
        const auto code1 = hn::Or(hn::And(b, low_bits), hn::And(hn::ShiftLeft<2>(p), pair_bits));
        const auto code2 = hn::Or(hn::ShiftRight<4>(a), hn::And(p, pair_bits));
        const auto code3 = hn::Or(hn::ShiftRight<4>(b), hn::And(hn::ShiftRight<2>(p), pair_bits));
        hn::Store(hn::Sub(code0, center), d, out + i);
        hn::Store(hn::Sub(code1, center), d, out + 32 + i);
        hn::Store(hn::Sub(code2, center), d, out + 64 + i);
        hn::Store(hn::Sub(code3, center), d, out + 96 + i);
      }
    }
  }
};

// The two bits of weight 128 h + 32 j + l are pair j of byte 32 h + l. Writes all 256, in order.
HWY_INLINE void unpack_pairs(const std::uint8_t* pairs, std::uint8_t* codes) {
  const ByteTag d;
  const auto two_bits = hn::Set(d, 3);
  for (std::size_t half = 0; half < 2; ++half, pairs += 32, codes += 128) {
    for (std::size_t i = 0; i < 32; i += hn::Lanes(d)) {
      const auto bytes = hn::LoadU(d, pairs + i);
      hn::Store(hn::And(bytes, two_bits), d, codes + i);
      hn::Store(hn::And(hn::ShiftRight<2>(bytes), two_bits), d, codes + 32 + i);
      hn::Store(hn::And(hn::ShiftRight<4>(bytes), two_bits), d, codes + 64 + i);
      hn::Store(hn::ShiftRight<6>(bytes), d, codes + 96 + i);
    }
  }
}

// 16 bytes with a scale (low nibble) and a minimum for every 16 weights, 64 bytes of pairs, f16 d, f16 dmin.
template <>
struct Decode<TensorType::Q2_K> {
  static constexpr std::size_t kElements = 256, kBytes = 84;
  static constexpr bool kPlain = false;
  template <class D, class Sink>
  static HWY_INLINE void decode(D d, const std::uint8_t* block, std::size_t count, Sink& sink) {
    const std::size_t lanes = hn::Lanes(d);
    HWY_ALIGN float scales[16 * kGroup];
    HWY_ALIGN float minima[16 * kGroup];
    HWY_ALIGN std::uint8_t codes[256 * kGroup];
    std::size_t base = 0;
    for (std::size_t done = 0; done < count; done += kGroup, base += 256 * kGroup) {
      const std::size_t n = std::min(kGroup, count - done);
      for (std::size_t k = 0; k < n; ++k, block += kBytes) {
        prefetch_ahead<kBytes>(block);
        const auto super_scale = broadcast_f16(d, block + 80);
        const auto minus_dmin = hn::Neg(broadcast_f16(d, block + 82));
        const hn::RebindToUnsigned<D> du;
        const hn::RebindToSigned<D> di;
        for (std::size_t g = 0; g < 16; g += lanes) {
          const auto both = widen_bytes(d, block + g);
          const auto scale = hn::ConvertTo(d, hn::BitCast(di, hn::And(both, hn::Set(du, 15U))));
          const auto minimum = hn::ConvertTo(d, hn::BitCast(di, hn::ShiftRight<4>(both)));
          hn::Store(hn::Mul(super_scale, scale), d, scales + 16 * k + g);
          hn::Store(hn::Mul(minus_dmin, minimum), d, minima + 16 * k + g);
        }
        unpack_pairs(block + 16, codes + 256 * k);
      }
      for (std::size_t g = 0; g < 16 * n; g += 4) {
        for (std::size_t i = 16 * g; i < 16 * (g + 1); i += lanes) {
          emit_one<0>(d, codes, scales, minima, g, i, base, sink);
          emit_one<1>(d, codes, scales, minima, g + 1, i + 16, base, sink);
          emit_one<2>(d, codes, scales, minima, g + 2, i + 32, base, sink);
          emit_one<3>(d, codes, scales, minima, g + 3, i + 48, base, sink);
        }
      }
    }
  }

 private:
  template <int kChain, class D, class Sink>
  static HWY_INLINE void emit_one(D d, const std::uint8_t* codes, const float* scales, const float* minima,
                                  std::size_t g, std::size_t i, std::size_t base, Sink& sink) {
    const ScaleAndMinimum<D> weight{hn::Set(d, scales[g]), hn::Set(d, minima[g])};
    sink.template emit<kChain>(base + i, weight(f32_from_codes(d, codes + i)));
  }
};

// 32 bytes whose bit j is the third bit of weights 32 j .. 32 j + 31, 64 bytes of pairs as in Q2_K, 12 bytes
// of scales, f16 d. A code stands for itself minus 4.
template <>
struct Decode<TensorType::Q3_K> {
  static constexpr std::size_t kElements = 256, kBytes = 110;
  static constexpr bool kPlain = false;
  template <class D, class Sink>
  static HWY_INLINE void decode(D d, const std::uint8_t* block, std::size_t count, Sink& sink) {
    const std::size_t lanes = hn::Lanes(d);
    HWY_ALIGN float scales[16 * kGroup];
    HWY_ALIGN std::uint8_t codes[256 * kGroup];
    std::size_t base = 0;
    for (std::size_t done = 0; done < count; done += kGroup, base += 256 * kGroup) {
      const std::size_t n = std::min(kGroup, count - done);
      for (std::size_t k = 0; k < n; ++k, block += kBytes) {
        prefetch_ahead<kBytes>(block);
        const SixBitNumbers numbers = unpack_sixteen_scales(block + 96);
        std::uint8_t bytes[16];
        std::memcpy(bytes, numbers.data(), sizeof(bytes));
        const auto super_scale = broadcast_f16(d, block + 108);
        for (std::size_t g = 0; g < 16; g += lanes) {
          const auto scale = hn::Sub(f32_from_codes(d, bytes + g), hn::Set(d, 32.0F));
          hn::Store(hn::Mul(super_scale, scale), d, scales + 16 * k + g);
        }
        unpack(block, codes + 256 * k);
      }
      emit_sixteenths(d, reinterpret_cast<const std::int8_t*>(codes), scales, n, base, sink);
    }
  }

 private:
  static HWY_INLINE void unpack(const std::uint8_t* block, std::uint8_t* codes) {
    const ByteTag d;
    unpack_pairs(block + 32, codes);
    const auto four = hn::Set(d, 4);
    for (std::size_t i = 0; i < 32; i += hn::Lanes(d)) {
      const auto third = hn::LoadU(d, block + i);
      for (std::size_t j = 0; j < 8; ++j) {
        const auto bit = hn::Set(d, static_cast<std::uint8_t>(1U << j));
        const auto without = hn::IfThenZeroElse(hn::TestBit(third, bit), four);
        std::uint8_t* code = codes + 32 * j + i;
        hn::Store(hn::Sub(hn::Load(d, code), without), d, code);
      }
    }
  }
};

}  // namespace thinkey::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // THINKEY_OPS_K_QUANT_DECODERS_INL_H_
