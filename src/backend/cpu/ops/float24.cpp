#include "backend/cpu/ops/float24.h"

#include "backend/cpu/ops/highway_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backend/cpu/ops/float24-inl.h"
#include <hwy/foreach_target.h>

#include "backend/cpu/ops/float24-inl.h"

namespace thinkey {
namespace {

HWY_EXPORT(f32_to_f24_row);
HWY_EXPORT(f24_to_f32_row);
HWY_EXPORT(add_to_f24_row);

}  // namespace

void f32_to_f24(const float* from, std::size_t n, std::uint16_t* upper, std::uint8_t* lower) {
  HWY_DYNAMIC_DISPATCH(f32_to_f24_row)(from, n, upper, lower);
}
void f24_to_f32(const std::uint16_t* upper, const std::uint8_t* lower, std::size_t n, float* to) {
  HWY_DYNAMIC_DISPATCH(f24_to_f32_row)(upper, lower, n, to);
}
void add_to_f24(const float* x, std::size_t n, std::uint16_t* upper, std::uint8_t* lower) {
  HWY_DYNAMIC_DISPATCH(add_to_f24_row)(x, n, upper, lower);
}

}  // namespace thinkey
