#include "backend/cpu/ops/activation.h"

#include <algorithm>

#include "backend/cpu/ops/highway_targets.h"
#include "base/parallel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backend/cpu/ops/activation-inl.h"
#include <hwy/foreach_target.h>

#include "backend/cpu/ops/activation-inl.h"

namespace thinkey {
namespace {

HWY_EXPORT(swiglu_row);
HWY_EXPORT(geglu_row);
HWY_EXPORT(clamped_swiglu_row);
HWY_EXPORT(relu_squared_row);
HWY_EXPORT(add_row);

// Elements per task: long enough to be worth handing out, short enough to share evenly.
constexpr std::size_t kChunk = 16384;

template <typename Body>
void for_chunks(std::size_t n, const Body& body) {
  parallel_for((n + kChunk - 1) / kChunk, [&](std::size_t chunk) {
    const std::size_t begin = chunk * kChunk;
    body(begin, std::min(kChunk, n - begin));
  });
}

}  // namespace

void gated_activation(Activation activation, const float* gate, const float* up, std::size_t n, float* out) {
  using Kernel = void (*)(const float*, const float*, std::size_t, float*);
  Kernel kernel = nullptr;
  switch (activation) {
    case Activation::Silu:
      kernel = HWY_DYNAMIC_DISPATCH(swiglu_row);
      break;
    case Activation::GeluTanh:
      kernel = HWY_DYNAMIC_DISPATCH(geglu_row);
      break;
    case Activation::ClampedSwiglu:
      kernel = HWY_DYNAMIC_DISPATCH(clamped_swiglu_row);
      break;
    case Activation::ReluSquared:
      kernel = HWY_DYNAMIC_DISPATCH(relu_squared_row);
      break;
  }
  for_chunks(
      n, [&](std::size_t begin, std::size_t count) { kernel(gate + begin, up + begin, count, out + begin); });
}

void add(const float* x, std::size_t n, float* out) {
  const auto kernel = HWY_DYNAMIC_DISPATCH(add_row);
  for_chunks(n, [&](std::size_t begin, std::size_t count) { kernel(x + begin, count, out + begin); });
}

void scale(float factor, std::size_t n, float* x) {
  for_chunks(n, [&](std::size_t begin, std::size_t count) {
    for (std::size_t i = begin; i < begin + count; ++i) x[i] *= factor;
  });
}

}  // namespace thinkey
