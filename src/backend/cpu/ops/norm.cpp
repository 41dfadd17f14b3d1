#include "backend/cpu/ops/norm.h"

#include <algorithm>
#include <cmath>

#include "backend/cpu/ops/highway_targets.h"
#include "base/parallel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backend/cpu/ops/norm-inl.h"
#include <hwy/foreach_target.h>

#include "backend/cpu/ops/norm-inl.h"

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

namespace {

// LayerNorm: (x - mean) / sqrt(variance + epsilon) * weight + bias.
void layer_norm_row(const Norm& norm, std::size_t width, float* x) {
  double sum = 0;
  for (std::size_t i = 0; i < width; ++i) sum += x[i];
  const double mean = sum / static_cast<double>(width);
  double squares = 0;
  for (std::size_t i = 0; i < width; ++i) squares += (x[i] - mean) * (x[i] - mean);
  const auto factor = static_cast<float>(
      1.0 / std::sqrt(squares / static_cast<double>(width) + static_cast<double>(norm.epsilon)));
  for (std::size_t i = 0; i < width; ++i) {
    x[i] = (x[i] - static_cast<float>(mean)) * factor * norm.weight[i] +
           (norm.bias == nullptr ? 0.0F : norm.bias[i]);
  }
}

}  // namespace

void normalise(const Norm& norm, std::size_t rows, std::size_t width, float* x) {
  if (!norm) return;
  if (norm.kind == NormKind::Rms) return rms_norm(x, norm.weight, norm.epsilon, rows, width, x);
  parallel_for(rows, [&](std::size_t r) { layer_norm_row(norm, width, x + r * width); });
}

}  // namespace thinkey
