// Decoders: one per file type. Each turns a block of packed bytes into vectors of f32 weights and hands
// them to a sink, which stores them (dequantize) or multiplies them with x (matvec); nothing passes
// through memory in between. Formats and order of operations are ggml's, so that the weights equal its
// reference dequantization bit for bit.
//
// A decoder has
//   kElements, kBytes                  geometry of a block
//   decode(d, block, count, sink)      calls sink.emit<chain>(offset, w) for every vector of `count`
//                                      blocks; offset is its first element, chain in [0, 4) tells
//                                      sinks that accumulate which independent sum to use
//   element(row, i)                    plain types only (no real blocks): one element, for the tail

#if defined(THINKEY_OPS_BLOCK_DECODERS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef THINKEY_OPS_BLOCK_DECODERS_INL_H_
#undef THINKEY_OPS_BLOCK_DECODERS_INL_H_
#else
#define THINKEY_OPS_BLOCK_DECODERS_INL_H_
#endif

#include <hwy/highway.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "backend/cpu/ops/convert-inl.h"
#include "base/half.h"
#include "base/tensor_type.h"

// With 16 lanes a 4-bit code is an index into a vector: one permutation replaces mask, conversion,
// product and sum.
#undef THINKEY_NIBBLE_TABLE
#if HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX3
#define THINKEY_NIBBLE_TABLE 1
#else
#define THINKEY_NIBBLE_TABLE 0
#endif

HWY_BEFORE_NAMESPACE();
namespace thinkey::HWY_NAMESPACE {

template <TensorType kType>
struct Decode;

// ---- Plain types: 32 elements at a time, the rest one by one.

template <>
struct Decode<TensorType::F32> {
  static constexpr std::size_t kElements = 32, kBytes = 128;
  static constexpr bool kPlain = true;
  template <class D, class Sink>
  static HWY_INLINE void decode(D d, const std::uint8_t* block, std::size_t count, Sink& sink) {
    const std::size_t lanes = hn::Lanes(d);
    for (std::size_t i = 0; i < 32 * count; i += 2 * lanes) {
      sink.template emit<0>(i, load_bytes(d, block + 4 * i));
      sink.template emit<1>(i + lanes, load_bytes(d, block + 4 * (i + lanes)));
    }
  }
  static float element(const std::uint8_t* row, std::size_t i) {
    float value;
    std::memcpy(&value, row + 4 * i, sizeof(value));
    return value;
  }
};

template <>
struct Decode<TensorType::F16> {
  static constexpr std::size_t kElements = 32, kBytes = 64;
  static constexpr bool kPlain = true;
  template <class D, class Sink>
  static HWY_INLINE void decode(D d, const std::uint8_t* block, std::size_t count, Sink& sink) {
    const std::size_t lanes = hn::Lanes(d);
    for (std::size_t i = 0; i < 32 * count; i += 2 * lanes) {
      sink.template emit<0>(i, load_f16(d, block + 2 * i));
      sink.template emit<1>(i + lanes, load_f16(d, block + 2 * (i + lanes)));
    }
  }
  static float element(const std::uint8_t* row, std::size_t i) {
    f16_bits bits;
    std::memcpy(&bits, row + 2 * i, sizeof(bits));
    return f32_from_f16(bits);
  }
};

template <>
struct Decode<TensorType::BF16> {
  static constexpr std::size_t kElements = 32, kBytes = 64;
  static constexpr bool kPlain = true;
  template <class D, class Sink>
  static HWY_INLINE void decode(D d, const std::uint8_t* block, std::size_t count, Sink& sink) {
    const std::size_t lanes = hn::Lanes(d);
    for (std::size_t i = 0; i < 32 * count; i += 2 * lanes) {
      sink.template emit<0>(i, load_bf16(d, block + 2 * i));
      sink.template emit<1>(i + lanes, load_bf16(d, block + 2 * (i + lanes)));
    }
  }
  static float element(const std::uint8_t* row, std::size_t i) {
    bf16_bits bits;
    std::memcpy(&bits, row + 2 * i, sizeof(bits));
    return f32_from_bf16(bits);
  }
};

// ---- Pieces of the quantized types.

// f32 values of signed (I = int8_t) or unsigned (uint8_t) byte codes.
template <class I, class D>
HWY_INLINE hn::Vec<D> f32_from_codes(D d, const I* codes) {
  const hn::RebindToSigned<D> di;
  return hn::ConvertTo(d, hn::PromoteTo(di, hn::LoadU(hn::Rebind<I, D>(), codes)));
}

// `lanes` bytes, each in its own 32-bit lane.
template <class D>
HWY_INLINE hn::Vec<hn::RebindToUnsigned<D>> widen_bytes(D, const std::uint8_t* bytes) {
  return hn::PromoteTo(hn::RebindToUnsigned<D>(), hn::LoadU(hn::Rebind<std::uint8_t, D>(), bytes));
}

// Weights scale * (code - 8), or scale * code + minimum, of 4-bit codes.
template <class D>
class Nibbles {
  using V = hn::Vec<D>;
  using DU = hn::RebindToUnsigned<D>;
  using VU = hn::Vec<DU>;

 public:
#if THINKEY_NIBBLE_TABLE
  static HWY_INLINE Nibbles centered(D d, V scale) { return Nibbles(hn::Mul(scale, hn::Iota(d, -8.0F))); }
  static HWY_INLINE Nibbles affine(D d, V scale, V minimum) {
    return Nibbles(hn::Add(hn::Mul(scale, hn::Iota(d, 0.0F)), minimum));
  }
  // Of widened bytes: the permutation looks at the lowest four bits only.
  HWY_INLINE V low(VU bytes) const { return {_mm512_permutexvar_ps(bytes.raw, table_.raw)}; }
  HWY_INLINE V high(VU bytes) const { return low(hn::ShiftRight<4>(bytes)); }

 private:
  HWY_INLINE explicit Nibbles(V table) : table_(table) {}
  V table_;
#else
  static HWY_INLINE Nibbles centered(D d, V scale) { return Nibbles(scale, hn::Zero(d), true); }
  static HWY_INLINE Nibbles affine(D, V scale, V minimum) { return Nibbles(scale, minimum, false); }
  HWY_INLINE V low(VU bytes) const { return weights(hn::And(bytes, hn::Set(DU(), 15U))); }
  HWY_INLINE V high(VU bytes) const { return weights(hn::ShiftRight<4>(bytes)); }

 private:
  HWY_INLINE Nibbles(V scale, V minimum, bool centered)
      : scale_(scale), minimum_(minimum), centered_(centered) {}
  HWY_INLINE V weights(VU codes) const {
    const D d;
    const V v = hn::ConvertTo(d, hn::BitCast(hn::RebindToSigned<D>(), codes));
    if (centered_) return hn::Mul(scale_, hn::Sub(v, hn::Set(d, 8.0F)));
    return hn::Add(hn::Mul(scale_, v), minimum_);
  }
  V scale_, minimum_;
  bool centered_;  // a constant once inlined
#endif
};

// A block's 16 bytes of codes: low nibbles are elements e..e+15, high nibbles e+16..e+31.
template <class D, class Sink>
HWY_INLINE void emit_nibbles(D d, const Nibbles<D>& nibbles, const std::uint8_t* codes, std::size_t e,
                             Sink& sink) {
  for (std::size_t i = 0; i < 16; i += hn::Lanes(d)) {
    const auto bytes = widen_bytes(d, codes + i);
    sink.template emit<0>(e + i, nibbles.low(bytes));
    sink.template emit<1>(e + 16 + i, nibbles.high(bytes));
  }
}

// ---- Blocks of 32.

template <>
struct Decode<TensorType::Q8_0> {  // f16 scale, 32 signed bytes
  static constexpr std::size_t kElements = 32, kBytes = 34;
  static constexpr bool kPlain = false;
  template <class D, class Sink>
  static HWY_INLINE void decode(D d, const std::uint8_t* block, std::size_t count, Sink& sink) {
    const std::size_t lanes = hn::Lanes(d);
    for (std::size_t e = 0; e < 32 * count; e += 32, block += kBytes) {
      const auto scale = broadcast_f16(d, block);
      const auto* codes = reinterpret_cast<const std::int8_t*>(block + 2);
      for (std::size_t i = 0; i < 32; i += 2 * lanes) {
        sink.template emit<0>(e + i, hn::Mul(f32_from_codes(d, codes + i), scale));
        sink.template emit<1>(e + i + lanes, hn::Mul(f32_from_codes(d, codes + i + lanes), scale));
      }
    }
  }
};

template <>
struct Decode<TensorType::Q4_0> {  // f16 scale, 16 bytes
  static constexpr std::size_t kElements = 32, kBytes = 18;
  static constexpr bool kPlain = false;
  template <class D, class Sink>
  static HWY_INLINE void decode(D d, const std::uint8_t* block, std::size_t count, Sink& sink) {
    for (std::size_t e = 0; e < 32 * count; e += 32, block += kBytes) {
      emit_nibbles(d, Nibbles<D>::centered(d, broadcast_f16(d, block)), block + 2, e, sink);
    }
  }
};

template <>
struct Decode<TensorType::Q4_1> {  // f16 scale, f16 minimum, 16 bytes
  static constexpr std::size_t kElements = 32, kBytes = 20;
  static constexpr bool kPlain = false;
  template <class D, class Sink>
  static HWY_INLINE void decode(D d, const std::uint8_t* block, std::size_t count, Sink& sink) {
    for (std::size_t e = 0; e < 32 * count; e += 32, block += kBytes) {
      const auto nibbles = Nibbles<D>::affine(d, broadcast_f16(d, block), broadcast_f16(d, block + 2));
      emit_nibbles(d, nibbles, block + 4, e, sink);
    }
  }
};

// The 5-bit codes of a block of 32 as f32: 4 bytes with everyone's fifth bit, then 16 bytes of nibbles.
template <class D, class Sink, class Weight>
HWY_INLINE void emit_five_bits(D d, const std::uint8_t* packed, const Weight& weight, std::size_t e,
                               Sink& sink) {
  const hn::RebindToUnsigned<D> du;
  const hn::RebindToSigned<D> di;
  alignas(64) static constexpr std::uint32_t kBits[16] = {
      1U << 0U, 1U << 1U, 1U << 2U,  1U << 3U,  1U << 4U,  1U << 5U,  1U << 6U,  1U << 7U,
      1U << 8U, 1U << 9U, 1U << 10U, 1U << 11U, 1U << 12U, 1U << 13U, 1U << 14U, 1U << 15U};
  std::uint32_t fifth;
  std::memcpy(&fifth, packed, sizeof(fifth));
  const auto fifth_low = hn::Set(du, fifth);
  const auto fifth_high = hn::Set(du, fifth >> 16U);
  const auto sixteen = hn::Set(du, 16U);
  for (std::size_t i = 0; i < 16; i += hn::Lanes(d)) {
    const auto bytes = widen_bytes(d, packed + 4 + i);
    const auto bit = hn::LoadU(du, kBits + i);
    const auto low =
        hn::Or(hn::And(bytes, hn::Set(du, 15U)), hn::IfThenElseZero(hn::TestBit(fifth_low, bit), sixteen));
    const auto high =
        hn::Or(hn::ShiftRight<4>(bytes), hn::IfThenElseZero(hn::TestBit(fifth_high, bit), sixteen));
    sink.template emit<0>(e + i, weight(hn::ConvertTo(d, hn::BitCast(di, low))));
    sink.template emit<1>(e + 16 + i, weight(hn::ConvertTo(d, hn::BitCast(di, high))));
  }
}

template <class D>
struct ScaleCentered16 {
  hn::Vec<D> scale;
  HWY_INLINE hn::Vec<D> operator()(hn::Vec<D> code) const {
    return hn::Mul(scale, hn::Sub(code, hn::Set(D(), 16.0F)));
  }
};

template <class D>
struct ScaleAndMinimum {
  hn::Vec<D> scale, minimum;
  HWY_INLINE hn::Vec<D> operator()(hn::Vec<D> code) const { return hn::Add(hn::Mul(scale, code), minimum); }
};

template <>
struct Decode<TensorType::Q5_0> {  // f16 scale, 4 bytes of fifth bits, 16 bytes
  static constexpr std::size_t kElements = 32, kBytes = 22;
  static constexpr bool kPlain = false;
  template <class D, class Sink>
  static HWY_INLINE void decode(D d, const std::uint8_t* block, std::size_t count, Sink& sink) {
    for (std::size_t e = 0; e < 32 * count; e += 32, block += kBytes) {
      emit_five_bits(d, block + 2, ScaleCentered16<D>{broadcast_f16(d, block)}, e, sink);
    }
  }
};

template <>
struct Decode<TensorType::Q5_1> {  // f16 scale, f16 minimum, 4 bytes of fifth bits, 16 bytes
  static constexpr std::size_t kElements = 32, kBytes = 24;
  static constexpr bool kPlain = false;
  template <class D, class Sink>
  static HWY_INLINE void decode(D d, const std::uint8_t* block, std::size_t count, Sink& sink) {
    for (std::size_t e = 0; e < 32 * count; e += 32, block += kBytes) {
      const ScaleAndMinimum<D> weight{broadcast_f16(d, block), broadcast_f16(d, block + 2)};
      emit_five_bits(d, block + 4, weight, e, sink);
    }
  }
};

}  // namespace thinkey::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // THINKEY_OPS_BLOCK_DECODERS_INL_H_
