// Decoder of a type, and the sinks that store what decoders give.

#if defined(THINKEY_OPS_DEQUANTIZE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef THINKEY_OPS_DEQUANTIZE_INL_H_
#undef THINKEY_OPS_DEQUANTIZE_INL_H_
#else
#define THINKEY_OPS_DEQUANTIZE_INL_H_
#endif

#include <hwy/highway.h>

#include <cstddef>
#include <cstdint>
#include <utility>

#include "backend/cpu/ops/block_decoders-inl.h"
#include "backend/cpu/ops/codebook_decoders-inl.h"
#include "backend/cpu/ops/convert-inl.h"
#include "backend/cpu/ops/k_quant_decoders-inl.h"
#include "base/half.h"
#include "base/tensor_type.h"

HWY_BEFORE_NAMESPACE();
namespace thinkey::HWY_NAMESPACE {

// Calls visitor.template visit<Decoder>() with the decoder of `type`.
template <class Visitor, std::size_t... kIndex>
HWY_INLINE void visit_decoder(TensorType type, const Visitor& visitor, std::index_sequence<kIndex...>) {
  static_cast<void>(((static_cast<std::size_t>(type) == kIndex &&
                      (visitor.template visit<Decode<static_cast<TensorType>(kIndex)>>(), true)) ||
                     ...));
}
template <class Visitor>
HWY_INLINE void visit_decoder(TensorType type, const Visitor& visitor) {
  visit_decoder(type, visitor, TensorTypeIndices());
}

// Sinks that store.
template <class D>
struct StoreF32 {
  using Element = float;
  D d;
  float* out;
  template <int kChain>
  HWY_INLINE void emit(std::size_t offset, hn::Vec<D> w) {
    hn::StoreU(w, d, out + offset);
  }
};

template <class D>
struct StoreBF16 {
  using Element = bf16_bits;
  D d;
  bf16_bits* out;
  template <int kChain>
  HWY_INLINE void emit(std::size_t offset, hn::Vec<D> w) {
    hn::StoreU(bf16_bits_from_f32(d, w), hn::Rebind<std::uint16_t, D>(), integers(out) + offset);
  }
};

}  // namespace thinkey::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // THINKEY_OPS_DEQUANTIZE_INL_H_
