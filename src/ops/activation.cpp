#include "ops/activation.h"

#include <algorithm>

#include "base/parallel.h"
#include "ops/highway_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ops/activation-inl.h"
#include <hwy/foreach_target.h>

#include "ops/activation-inl.h"

namespace thinkey {
namespace {

HWY_EXPORT(swiglu_row);
HWY_EXPORT(add_row);

// Elements per task: long enough to be worth handing out, short enough to share evenly.
constexpr std::size_t kChunk = 16384;

template <typename Body>
void for_chunks(std::size_t n, const Body& body) {
  parallel_for((n + kChunk - 1) / kChunk, [&](std::size_t chunk) {
    const std::size_t begin = chunk * kChunk;
    body(begin, std::min(kChunk, n - begin));
  });
}

}  // namespace

void swiglu(const float* gate, const float* up, std::size_t n, float* out) {
  const auto kernel = HWY_DYNAMIC_DISPATCH(swiglu_row);
  for_chunks(
      n, [&](std::size_t begin, std::size_t count) { kernel(gate + begin, up + begin, count, out + begin); });
}

void add(const float* x, std::size_t n, float* out) {
  const auto kernel = HWY_DYNAMIC_DISPATCH(add_row);
  for_chunks(n, [&](std::size_t begin, std::size_t count) { kernel(x + begin, count, out + begin); });
}

}  // namespace thinkey
