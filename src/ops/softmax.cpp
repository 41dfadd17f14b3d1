#include "ops/softmax.h"

#include "ops/highway_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ops/softmax-inl.h"
#include <hwy/foreach_target.h>

#include "ops/softmax-inl.h"

namespace thinkey {
namespace {

HWY_EXPORT(softmax_row);
HWY_EXPORT(exp_shifted_row);

}  // namespace

void softmax(float* x, std::size_t n) { HWY_DYNAMIC_DISPATCH(softmax_row)(x, n); }

float exp_shifted(float* x, std::size_t n, float shift) {
  return HWY_DYNAMIC_DISPATCH(exp_shifted_row)(x, n, shift);
}

}  // namespace thinkey
