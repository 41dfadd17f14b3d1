// What the machine can do at most, measured: the figures speeds are set against.
#pragma once

#include "ops/matmul.h"

namespace thinkey::cli {

struct MachineLimits {
  double read_bytes_per_second = 0.0;  // all threads reading memory far larger than the caches
  // Multiply-adds times two of a large product, by oneDNN: as prefill's attention multiplies, and as it
  // multiplies with weights.
  double products_per_second = 0.0;
  double weight_products_per_second = 0.0;
};

// The best of several short runs, half a second in all; with the threads set at the moment. int8_weights:
// weights are multiplied in 8 bits instead of `precision`.
[[nodiscard]] MachineLimits measure_limits(Precision precision, bool int8_weights);

}  // namespace thinkey::cli
