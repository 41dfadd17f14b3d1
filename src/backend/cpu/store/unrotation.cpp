#include "backend/cpu/store/unrotation.h"

#include <cmath>
#include <utility>

namespace thinkey {
namespace {

// The two channels of pair i of `pairs`.
std::pair<std::size_t, std::size_t> pair_of(RopePairs kind, std::size_t i, std::size_t pairs) noexcept {
  return kind == RopePairs::HalfSplit ? std::pair{i, i + pairs} : std::pair{2 * i, 2 * i + 1};
}

}  // namespace

Unrotation::Unrotation(const RopeSpec* rope, std::int64_t first, std::size_t n, std::size_t length)
    : rope_(rope) {
  if (rope == nullptr) return;
  std::vector<float> scratch;
  const std::span<const float> frequencies = rope_frequencies(*rope, length, scratch);
  angles_.resize(n, frequencies.size());
  for (std::size_t i = 0; i < n; ++i) {
    angles_.set(i, frequencies, rope->magnitude, first + static_cast<std::int64_t>(i));
  }
  square_ = rope->magnitude * rope->magnitude;
}

void Unrotation::undo(std::size_t i, float* x) const noexcept {
  if (rope_ == nullptr) return;
  const float* cosines = angles_.cosines(i);
  const float* sines = angles_.sines(i);
  for (std::size_t p = 0; p < angles_.pairs(); ++p) {
    const auto [a, b] = pair_of(rope_->pairs, p, angles_.pairs());
    const float u = x[a];
    const float v = x[b];
    x[a] = (u * cosines[p] + v * sines[p]) / square_;
    x[b] = (v * cosines[p] - u * sines[p]) / square_;
  }
}

MeanRotation::MeanRotation(const RopeSpec* rope, std::int64_t first, std::size_t n, std::size_t length)
    : rope_(rope) {
  if (rope == nullptr) return;
  std::vector<float> scratch;
  const std::span<const float> frequencies = rope_frequencies(*rope, length, scratch);
  cos_.resize(frequencies.size());
  sin_.resize(frequencies.size());
  for (std::size_t p = 0; p < frequencies.size(); ++p) {
    for (std::int64_t at = first; at < first + static_cast<std::int64_t>(n); ++at) {
      const double angle = static_cast<double>(static_cast<float>(at) * frequencies[p]);
      cos_[p] += std::cos(angle);
      sin_[p] += std::sin(angle);
    }
    cos_[p] *= rope->magnitude / static_cast<double>(n);
    sin_[p] *= rope->magnitude / static_cast<double>(n);
  }
}

void MeanRotation::apply(double* x, std::size_t stride) const noexcept {
  if (rope_ == nullptr) return;
  for (std::size_t p = 0; p < cos_.size(); ++p) {
    const auto [a, b] = pair_of(rope_->pairs, p, cos_.size());
    const double u = x[a * stride];
    const double v = x[b * stride];
    x[a * stride] = u * cos_[p] - v * sin_[p];
    x[b * stride] = v * cos_[p] + u * sin_[p];
  }
}

}  // namespace thinkey
