#include "ops/rope.h"

#include <algorithm>
#include <cmath>

#include "base/parallel.h"
#include "ops/highway_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ops/rope-inl.h"
#include <hwy/foreach_target.h>

#include "ops/rope-inl.h"

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

RopeAngles::RopeAngles(std::span<const float> inverse_frequencies, std::int64_t first, std::size_t count)
    : pairs_(inverse_frequencies.size()) {
  move_to(inverse_frequencies, first, count);
}

void RopeAngles::move_to(std::span<const float> inverse_frequencies, std::int64_t first, std::size_t count) {
  cos_.resize(std::max(cos_.size(), count * pairs_));
  sin_.resize(cos_.size());
  // A sine costs some 16 of a rotation's steps.
  for_tokens(count, 16 * pairs_, [&](std::size_t t) {
    const auto position = static_cast<float>(first + static_cast<std::int64_t>(t));
    for (std::size_t i = 0; i < pairs_; ++i) {
      const float angle = position * inverse_frequencies[i];
      cos_[t * pairs_ + i] = std::cos(angle);
      sin_[t * pairs_ + i] = std::sin(angle);
    }
  });
}

void rope(RopePairs pairs, const RopeAngles& angles, std::size_t tokens, std::size_t heads,
          std::size_t stride, float* x) {
  const auto kernel = pairs == RopePairs::HalfSplit ? HWY_DYNAMIC_DISPATCH(rope_half_split)
                                                    : HWY_DYNAMIC_DISPATCH(rope_interleaved);
  for_tokens(tokens, heads * 2 * angles.pairs(), [&](std::size_t t) {
    kernel(angles.cosines(t), angles.sines(t), angles.pairs(), heads, x + t * stride);
  });
}

}  // namespace thinkey
