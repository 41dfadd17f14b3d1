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

#include "base/half.h"
#include "base/tensor_type.h"
#include "ops/block_decoders-inl.h"
#include "ops/convert-inl.h"
#include "ops/k_quant_decoders-inl.h"

HWY_BEFORE_NAMESPACE();
namespace thinkey::HWY_NAMESPACE {

// Calls visitor.template visit<Decoder>() with the decoder of `type`.
template <class Visitor>
HWY_INLINE void visit_decoder(TensorType type, const Visitor& visitor) {
  switch (type) {
    case TensorType::F32:
      return visitor.template visit<Decode<TensorType::F32>>();
    case TensorType::F16:
      return visitor.template visit<Decode<TensorType::F16>>();
    case TensorType::BF16:
      return visitor.template visit<Decode<TensorType::BF16>>();
    case TensorType::Q8_0:
      return visitor.template visit<Decode<TensorType::Q8_0>>();
    case TensorType::Q4_0:
      return visitor.template visit<Decode<TensorType::Q4_0>>();
    case TensorType::Q4_1:
      return visitor.template visit<Decode<TensorType::Q4_1>>();
    case TensorType::Q5_0:
      return visitor.template visit<Decode<TensorType::Q5_0>>();
    case TensorType::Q5_1:
      return visitor.template visit<Decode<TensorType::Q5_1>>();
    case TensorType::Q4_K:
      return visitor.template visit<Decode<TensorType::Q4_K>>();
    case TensorType::Q5_K:
      return visitor.template visit<Decode<TensorType::Q5_K>>();
    case TensorType::Q6_K:
      return visitor.template visit<Decode<TensorType::Q6_K>>();
  }
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
    hn::StoreU(bf16_bits_from_f32(d, w), hn::Rebind<std::uint16_t, D>(), out + offset);
  }
};

}  // namespace thinkey::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // THINKEY_OPS_DEQUANTIZE_INL_H_
