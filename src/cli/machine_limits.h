// What the machine can do at most, measured: the figures speeds are set against.
#pragma once

#include "ops/matmul.h"

namespace thinkey::cli {

struct MachineLimits {
  double read_bytes_per_second = 0.0;  // all threads reading memory far larger than the caches
  double products_per_second = 0.0;    // multiply-adds times two of a large product of prefill's precision
};

// The best of several short runs, half a second in all; with the threads set at the moment.
[[nodiscard]] MachineLimits measure_limits(Precision precision);

}  // namespace thinkey::cli
