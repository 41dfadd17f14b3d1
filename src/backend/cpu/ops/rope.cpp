#include "backend/cpu/ops/rope.h"

#include <algorithm>
#include <cmath>

#include "backend/cpu/ops/highway_targets.h"
#include "base/parallel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backend/cpu/ops/rope-inl.h"
#include <hwy/foreach_target.h>

#include "backend/cpu/ops/rope-inl.h"

namespace thinkey {
namespace {

HWY_EXPORT(rope_half_split);
HWY_EXPORT(rope_interleaved);

// body(t) for every token, several per task so that a task has some 8k elements.
template <typename Body>
void for_tokens(std::size_t tokens, std::size_t elements_per_token, const Body& body) {
  const std::size_t per_task = std::max<std::size_t>(1, 8192 / std::max<std::size_t>(1, elements_per_token));
  parallel_for((tokens + per_task - 1) / per_task, [&](std::size_t task) {
    const std::size_t end = std::min(tokens, (task + 1) * per_task);
    for (std::size_t t = task * per_task; t < end; ++t) body(t);
  });
}

}  // namespace

void RopeAngles::resize(std::size_t rows, std::size_t pairs) {
  pairs_ = pairs;
  cos_.resize(std::max(cos_.size(), rows * pairs));
  sin_.resize(cos_.size());
}

void RopeAngles::set(std::size_t t, std::span<const float> inverse_frequencies, float magnitude,
                     std::int64_t position) {
  const auto p = static_cast<float>(position);
  for (std::size_t i = 0; i < pairs_; ++i) {
    const float angle = p * inverse_frequencies[i];
    cos_[t * pairs_ + i] = std::cos(angle) * magnitude;
    sin_[t * pairs_ + i] = std::sin(angle) * magnitude;
  }
}

void rope(RopePairs pairs, const RopeAngles& angles, std::size_t first, std::size_t tokens, std::size_t heads,
          std::size_t head_dim, std::size_t stride, float* x) {
  const auto kernel = pairs == RopePairs::HalfSplit ? HWY_DYNAMIC_DISPATCH(rope_half_split)
                                                    : HWY_DYNAMIC_DISPATCH(rope_interleaved);
  for_tokens(tokens, heads * 2 * angles.pairs(), [&](std::size_t t) {
    kernel(angles.cosines(first + t), angles.sines(first + t), angles.pairs(), heads, head_dim,
           x + t * stride);
  });
}

}  // namespace thinkey
