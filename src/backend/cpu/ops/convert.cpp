#include "backend/cpu/ops/convert.h"

#include "backend/cpu/ops/highway_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backend/cpu/ops/convert.cpp"  // this file, once per target
#include <hwy/foreach_target.h>                           // before highway.h
#include <hwy/highway.h>

#include "backend/cpu/ops/convert-inl.h"

HWY_BEFORE_NAMESPACE();
namespace thinkey::HWY_NAMESPACE {

// Whole vectors, then the last elements one by one: nothing past the end is touched.
void f32_to_f16_rows(const float* from, std::size_t n, f16_bits* to) {
  const F32Tag d;
  const hn::Rebind<std::uint16_t, F32Tag> du16;
  const std::size_t lanes = hn::Lanes(d);
  std::size_t i = 0;
  for (; i + lanes <= n; i += lanes)
    hn::StoreU(f16_bits_from_f32(d, hn::LoadU(d, from + i)), du16, integers(to) + i);
  for (; i < n; ++i) to[i] = f16_from_f32(from[i]);
}

void f16_to_f32_rows(const f16_bits* from, std::size_t n, float* to) {
  const F32Tag d;
  const hn::Rebind<std::uint16_t, F32Tag> du16;
  const std::size_t lanes = hn::Lanes(d);
  std::size_t i = 0;
  for (; i + lanes <= n; i += lanes)
    hn::StoreU(f32_from_f16_bits(d, hn::LoadU(du16, integers(from) + i)), d, to + i);
  for (; i < n; ++i) to[i] = f32_from_f16(from[i]);
}

void f32_to_bf16_rows(const float* from, std::size_t n, bf16_bits* to) {
  const F32Tag d;
  const hn::Rebind<std::uint16_t, F32Tag> du16;
  const std::size_t lanes = hn::Lanes(d);
  std::size_t i = 0;
  for (; i + lanes <= n; i += lanes)
    hn::StoreU(bf16_bits_from_f32(d, hn::LoadU(d, from + i)), du16, integers(to) + i);
  for (; i < n; ++i) to[i] = bf16_from_f32(from[i]);
}

void bf16_to_f32_rows(const bf16_bits* from, std::size_t n, float* to) {
  const F32Tag d;
  const hn::Rebind<std::uint16_t, F32Tag> du16;
  const std::size_t lanes = hn::Lanes(d);
  std::size_t i = 0;
  for (; i + lanes <= n; i += lanes)
    hn::StoreU(f32_from_bf16_bits(d, hn::LoadU(du16, integers(from) + i)), d, to + i);
  for (; i < n; ++i) to[i] = f32_from_bf16(from[i]);
}

}  // namespace thinkey::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace thinkey {

HWY_EXPORT(f32_to_f16_rows);
HWY_EXPORT(f16_to_f32_rows);
HWY_EXPORT(f32_to_bf16_rows);
HWY_EXPORT(bf16_to_f32_rows);

void f32_to_f16(const float* from, std::size_t n, f16_bits* to) {
  HWY_DYNAMIC_DISPATCH(f32_to_f16_rows)(from, n, to);
}
void f16_to_f32(const f16_bits* from, std::size_t n, float* to) {
  HWY_DYNAMIC_DISPATCH(f16_to_f32_rows)(from, n, to);
}
void f32_to_bf16(const float* from, std::size_t n, bf16_bits* to) {
  HWY_DYNAMIC_DISPATCH(f32_to_bf16_rows)(from, n, to);
}
void bf16_to_f32(const bf16_bits* from, std::size_t n, float* to) {
  HWY_DYNAMIC_DISPATCH(bf16_to_f32_rows)(from, n, to);
}

}  // namespace thinkey
#endif  // HWY_ONCE
