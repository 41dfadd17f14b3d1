// The residual stream of a whole prompt, [T, d]: with one layer's keys and values most of what prefill holds.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/aligned_buffer.h"

namespace thinkey {

enum class HiddenPrecision {
  F24,  // every sum is rounded by at most 2^-16 of it: nothing beside products in bf16 or 8 bits
  F32,
};

// All work on rows runs in parallel where they are many.
class HiddenStates {
 public:
  HiddenStates(std::size_t tokens, std::size_t width, HiddenPrecision precision,
               AllocationCounter* counter = nullptr);
  [[nodiscard]] static std::size_t bytes(std::size_t tokens, std::size_t width,
                                         HiddenPrecision precision) noexcept;

  // Rows of the tokens [first, first + n), from or to dense rows [n, d].
  void load(std::size_t first, std::size_t n, float* to) const;
  void store(std::size_t first, std::size_t n, const float* from);
  void add(std::size_t first, std::size_t n, const float* x);  // row += x

 private:
  std::size_t width_;
  AlignedBuffer<float> f32_;            // [T, d], or
  AlignedBuffer<std::uint16_t> upper_;  // [T, d] each: see ops/float24.h
  AlignedBuffer<std::uint8_t> lower_;
};

}  // namespace thinkey
