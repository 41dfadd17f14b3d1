#include "backend/cpu/hidden_states.h"

#include <algorithm>

#include "backend/cpu/ops/activation.h"
#include "backend/cpu/ops/float24.h"
#include "base/parallel.h"

namespace thinkey {
namespace {

// body(begin, count) for pieces of n numbers, each long enough to be worth handing out.
template <typename Body>
void for_pieces(std::size_t n, const Body& body) {
  constexpr std::size_t kPiece = 16384;
  parallel_for((n + kPiece - 1) / kPiece, [&](std::size_t piece) {
    const std::size_t begin = piece * kPiece;
    body(begin, std::min(kPiece, n - begin));
  });
}

}  // namespace

HiddenStates::HiddenStates(std::size_t tokens, std::size_t width, HiddenPrecision precision,
                           AllocationCounter* counter)
    : width_(width),
      f32_(precision == HiddenPrecision::F32 ? tokens * width : 0, counter),
      upper_(precision == HiddenPrecision::F24 ? tokens * width : 0, counter),
      lower_(precision == HiddenPrecision::F24 ? tokens * width : 0, counter) {}

std::size_t HiddenStates::bytes(std::size_t tokens, std::size_t width, HiddenPrecision precision) noexcept {
  return tokens * width * (precision == HiddenPrecision::F32 ? sizeof(float) : 3);
}

void HiddenStates::load(std::size_t first, std::size_t n, float* to) const {
  for_pieces(n * width_, [&](std::size_t begin, std::size_t count) {
    const std::size_t at = first * width_ + begin;
    if (f32_.size() > 0) {
      std::copy_n(f32_.data() + at, count, to + begin);
    } else {
      f24_to_f32(upper_.data() + at, lower_.data() + at, count, to + begin);
    }
  });
}

void HiddenStates::store(std::size_t first, std::size_t n, const float* from) {
  for_pieces(n * width_, [&](std::size_t begin, std::size_t count) {
    const std::size_t at = first * width_ + begin;
    if (f32_.size() > 0) {
      std::copy_n(from + begin, count, f32_.data() + at);
    } else {
      f32_to_f24(from + begin, count, upper_.data() + at, lower_.data() + at);
    }
  });
}

void HiddenStates::add(std::size_t first, std::size_t n, const float* x) {
  for_pieces(n * width_, [&](std::size_t begin, std::size_t count) {
    const std::size_t at = first * width_ + begin;
    if (f32_.size() > 0) {
      thinkey::add(x + begin, count, f32_.data() + at);
    } else {
      add_to_f24(x + begin, count, upper_.data() + at, lower_.data() + at);
    }
  });
}

}  // namespace thinkey
