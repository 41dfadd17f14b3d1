#include "ops/norm.h"

#include <algorithm>

#include "base/parallel.h"
#include "ops/highway_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ops/norm-inl.h"
#include <hwy/foreach_target.h>

#include "ops/norm-inl.h"

namespace thinkey {
namespace {

HWY_EXPORT(rms_norm_row);

}  // namespace

void rms_norm(const float* x, const float* weight, float epsilon, std::size_t rows, std::size_t width,
              float* out) {
  if (width == 0) return;
  const auto row_kernel = HWY_DYNAMIC_DISPATCH(rms_norm_row);
  // A task should last longer than handing it out: some 16k elements.
  const std::size_t rows_per_task = std::max<std::size_t>(1, 16384 / width);
  parallel_for((rows + rows_per_task - 1) / rows_per_task, [&](std::size_t task) {
    const std::size_t end = std::min(rows, (task + 1) * rows_per_task);
    for (std::size_t t = task * rows_per_task; t < end; ++t) {
      row_kernel(x + t * width, weight, epsilon, width, out + t * width);
    }
  });
}

}  // namespace thinkey
