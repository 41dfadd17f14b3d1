// Decoders (block_decoders-inl.h) of the types whose codes are looked up: IQ4 and MXFP4 in tables of sixteen,
// IQ1 to IQ3 in code books (codebook_blocks.h).

#if defined(THINKEY_OPS_CODEBOOK_DECODERS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef THINKEY_OPS_CODEBOOK_DECODERS_INL_H_
#undef THINKEY_OPS_CODEBOOK_DECODERS_INL_H_
#else
#define THINKEY_OPS_CODEBOOK_DECODERS_INL_H_
#endif

#include <hwy/highway.h>

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "backend/cpu/ops/block_decoders-inl.h"
#include "backend/cpu/ops/codebook_blocks.h"
#include "backend/cpu/ops/convert-inl.h"
#include "backend/cpu/ops/k_quant_decoders-inl.h"
#include "base/half.h"
#include "base/tensor_type.h"

HWY_BEFORE_NAMESPACE();
namespace thinkey::HWY_NAMESPACE {

// What 16 bytes of nibbles stand for: 16 low ones, then 16 high ones.
HWY_INLINE void look_up_nibbles(const std::array<std::int8_t, 16>& values, const std::uint8_t* nibbles,
                                std::int8_t* out) {
#if HWY_TARGET == HWY_SCALAR
  for (std::size_t i = 0; i < 16; ++i) {
    out[i] = values[nibbles[i] & 15U];
    out[16 + i] = values[nibbles[i] >> 4U];
  }
#else
  const hn::Full128<std::uint8_t> d;
  const hn::Full128<std::int8_t> di;
  const auto table = hn::LoadU(di, values.data());
  const auto bytes = hn::LoadU(d, nibbles);
  hn::StoreU(hn::TableLookupBytes(table, hn::BitCast(di, hn::And(bytes, hn::Set(d, 15)))), di, out);
  hn::StoreU(hn::TableLookupBytes(table, hn::BitCast(di, hn::ShiftRight<4>(bytes))), di, out + 16);
#endif
}

// 32 codes times one scale.
template <class D, class Sink>
HWY_INLINE void emit_scaled(D d, const std::int8_t* codes, hn::Vec<D> scale, std::size_t e, Sink& sink) {
  const std::size_t lanes = hn::Lanes(d);
  for (std::size_t i = 0; i < 32; i += 2 * lanes) {
    sink.template emit<0>(e + i, hn::Mul(scale, f32_from_codes(d, codes + i)));
    sink.template emit<1>(e + i + lanes, hn::Mul(scale, f32_from_codes(d, codes + i + lanes)));
  }
}

template <>
struct Decode<TensorType::IQ4_NL> {  // f16 scale, 16 bytes
  static constexpr std::size_t kElements = 32, kBytes = 18;
  static constexpr bool kPlain = false;
  template <class D, class Sink>
  static HWY_INLINE void decode(D d, const std::uint8_t* block, std::size_t count, Sink& sink) {
    HWY_ALIGN std::int8_t codes[32];
    for (std::size_t e = 0; e < 32 * count; e += 32, block += kBytes) {
      look_up_nibbles(kIq4Values, block + 2, codes);
      emit_scaled(d, codes, broadcast_f16(d, block), e, sink);
    }
  }
};

template <>
struct Decode<TensorType::MXFP4> {  // exponent, 16 bytes
  static constexpr std::size_t kElements = 32, kBytes = 17;
  static constexpr bool kPlain = false;
  template <class D, class Sink>
  static HWY_INLINE void decode(D d, const std::uint8_t* block, std::size_t count, Sink& sink) {
    HWY_ALIGN std::int8_t codes[32];
    for (std::size_t e = 0; e < 32 * count; e += 32, block += kBytes) {
      look_up_nibbles(kMxfp4Values, block + 1, codes);
      emit_scaled(d, codes, hn::Set(d, std::bit_cast<float>(mxfp4_scale_bits(block[0]))), e, sink);
    }
  }
};

// f16 d, 6 bytes of scales (unpack_iq4_scales), 8 x 16 bytes.
template <>
struct Decode<TensorType::IQ4_XS> {
  static constexpr std::size_t kElements = 256, kBytes = 136;
  static constexpr bool kPlain = false;
  template <class D, class Sink>
  static HWY_INLINE void decode(D d, const std::uint8_t* block, std::size_t count, Sink& sink) {
    HWY_ALIGN std::int8_t codes[32];
    for (std::size_t e = 0; e < 256 * count; block += kBytes) {
      prefetch_ahead<kBytes>(block);
      const auto super_scale = broadcast_f16(d, block);
      const std::array<std::int8_t, 8> scales = unpack_iq4_scales(block);
      for (std::size_t s = 0; s < 8; ++s, e += 32) {
        look_up_nibbles(kIq4Values, block + 8 + 16 * s, codes);
        const auto sub_scale = hn::Set(d, static_cast<float>(scales[s]));
        emit_scaled(d, codes, hn::Mul(super_scale, sub_scale), e, sink);
      }
    }
  }
};

template <TensorType kType>
struct DecodeCodebook {
  static constexpr std::size_t kElements = 256, kBytes = traits(kType).block_bytes;
  static constexpr bool kPlain = false;
  template <class D, class Sink>
  static HWY_INLINE void decode(D d, const std::uint8_t* block, std::size_t count, Sink& sink) {
    using C = Codebook<kType>;
    CodebookGroup group;
    HWY_ALIGN float scales[16];
    for (std::size_t base = 0; base < 256 * count; base += 256, block += kBytes) {
      unpack_codebook<kType>(block, group);
      const float unit = f32_from_f16(group.d) * C::kUnit;
      for (std::size_t g = 0; g < 16; ++g) {
        scales[g] = unit * static_cast<float>(group.scales[16 * g / C::kSubColumns]);
      }
      emit_sixteenths(d, group.values, scales, 1, base, sink);
    }
  }
};
template <>
struct Decode<TensorType::IQ2_XXS> : DecodeCodebook<TensorType::IQ2_XXS> {};
template <>
struct Decode<TensorType::IQ2_XS> : DecodeCodebook<TensorType::IQ2_XS> {};
template <>
struct Decode<TensorType::IQ2_S> : DecodeCodebook<TensorType::IQ2_S> {};
template <>
struct Decode<TensorType::IQ3_XXS> : DecodeCodebook<TensorType::IQ3_XXS> {};
template <>
struct Decode<TensorType::IQ3_S> : DecodeCodebook<TensorType::IQ3_S> {};
template <>
struct Decode<TensorType::IQ1_S> : DecodeCodebook<TensorType::IQ1_S> {};
template <>
struct Decode<TensorType::IQ1_M> : DecodeCodebook<TensorType::IQ1_M> {};

}  // namespace thinkey::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // THINKEY_OPS_CODEBOOK_DECODERS_INL_H_
