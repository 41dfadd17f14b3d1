// What the machine can do at most, measured: the figures speeds are set against.
#pragma once

#include <cstdint>
#include <vector>

#include "backend/cpu/ops/matmul.h"
#include "base/aligned_buffer.h"

namespace thinkey::cli {

// All threads read memory far larger than the caches.
class MemoryReader {
 public:
  MemoryReader();
  [[nodiscard]] std::size_t bytes() const noexcept { return memory_.bytes(); }
  // Seconds that reading all of it once takes.
  [[nodiscard]] double read();

 private:
  AlignedBuffer<std::uint64_t> memory_;
  std::vector<std::uint64_t> sums_;
};

struct MachineLimits {
  double read_bytes_per_second = 0.0;  // MemoryReader's best
  // Multiply-adds times two of a large product, by oneDNN: as prefill's attention multiplies, and as it
  // multiplies with weights.
  double products_per_second = 0.0;
  double weight_products_per_second = 0.0;
};

// The best of several short runs, half a second in all; with the threads set at the moment. int8_weights:
// weights are multiplied in 8 bits instead of `precision`.
[[nodiscard]] MachineLimits measure_limits(Precision precision, bool int8_weights);

}  // namespace thinkey::cli
