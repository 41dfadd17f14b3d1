// Rotary position embedding (RoFormer, 2104.09864).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace thinkey {

// Which coordinates form a rotated pair: (2i, 2i+1), or (i, i + D/2).
enum class RopePairs : std::uint8_t { Interleaved, HalfSplit };

// Cosines and sines for consecutive positions first .. first+count-1; angles are f32 products
// p * inverse_frequencies[i], as the reference implementations compute them.
class RopeAngles {
 public:
  RopeAngles(std::span<const float> inverse_frequencies, std::int64_t first, std::size_t count);
  // Other positions; allocates only when `count` is the largest so far.
  void move_to(std::span<const float> inverse_frequencies, std::int64_t first, std::size_t count);
  [[nodiscard]] const float* cosines(std::size_t t) const noexcept {
    return cos_.data() + t * pairs_;
  }  // [D/2]
  [[nodiscard]] const float* sines(std::size_t t) const noexcept { return sin_.data() + t * pairs_; }
  [[nodiscard]] std::size_t pairs() const noexcept { return pairs_; }

 private:
  std::size_t pairs_;
  std::vector<float> cos_, sin_;
};

// Rotates x [tokens, heads, D] in place, token t by angles row t; `stride` elements between tokens.
void rope(RopePairs pairs, const RopeAngles& angles, std::size_t tokens, std::size_t heads,
          std::size_t stride, float* x);

}  // namespace thinkey
