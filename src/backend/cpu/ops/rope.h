// Rotary position embedding (RoFormer, 2104.09864).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "backend/stages.h"

namespace thinkey {

// Cosines and sines of some rows, each at a position of its own; angles are f32 products
// p * inverse_frequencies[i], as the reference implementations compute them.
class RopeAngles {
 public:
  // Room for `rows` rows of `pairs` pairs; allocates only when that is the most so far.
  void resize(std::size_t rows, std::size_t pairs);
  // Row t; cosines and sines are multiplied by `magnitude`.
  void set(std::size_t t, std::span<const float> inverse_frequencies, float magnitude, std::int64_t position);
  [[nodiscard]] const float* cosines(std::size_t t) const noexcept { return cos_.data() + t * pairs_; }
  [[nodiscard]] const float* sines(std::size_t t) const noexcept { return sin_.data() + t * pairs_; }
  [[nodiscard]] std::size_t pairs() const noexcept { return pairs_; }  // R/2

 private:
  std::size_t pairs_ = 0;
  std::vector<float> cos_, sin_;
};

// Rotates the first R channels of every head of x [tokens, heads, D] in place, token t by row first + t of
// the angles; `stride` elements between tokens.
void rope(RopePairs pairs, const RopeAngles& angles, std::size_t first, std::size_t tokens, std::size_t heads,
          std::size_t head_dim, std::size_t stride, float* x);

}  // namespace thinkey
