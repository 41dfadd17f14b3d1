#include "backend/cpu/ops/softmax.h"

#include "backend/cpu/ops/highway_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backend/cpu/ops/softmax-inl.h"
#include <hwy/foreach_target.h>

#include "backend/cpu/ops/softmax-inl.h"

namespace thinkey {
namespace {

HWY_EXPORT(softcap_row);
HWY_EXPORT(softmax_row);
HWY_EXPORT(exp_shifted_row);

}  // namespace

void softmax(float* x, std::size_t n, float sink) { HWY_DYNAMIC_DISPATCH(softmax_row)(x, n, sink); }

void softcap(float* x, std::size_t n, float cap) {
  if (cap > 0.0F) HWY_DYNAMIC_DISPATCH(softcap_row)(x, n, cap);
}

float exp_shifted(float* x, std::size_t n, float shift) {
  return HWY_DYNAMIC_DISPATCH(exp_shifted_row)(x, n, shift);
}

}  // namespace thinkey
