// Rows of f32, f16 and bf16 into one another (Highway, run-time dispatch; round to nearest even).
#pragma once

#include <cstddef>

#include "base/half.h"

namespace thinkey {

void f32_to_f16(const float* from, std::size_t n, f16_bits* to);
void f16_to_f32(const f16_bits* from, std::size_t n, float* to);
void f32_to_bf16(const float* from, std::size_t n, bf16_bits* to);
void bf16_to_f32(const bf16_bits* from, std::size_t n, float* to);

}  // namespace thinkey
