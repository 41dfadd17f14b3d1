// RoPE undone: queries and keys as they were before it, for statistics that must not depend on where a token
// stands.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "backend/cpu/ops/rope.h"
#include "backend/stages.h"

namespace thinkey {

class Unrotation {
 public:
  // Of rows at the positions first .. first + n - 1 of a sequence of `length` tokens. rope null: none.
  Unrotation(const RopeSpec* rope, std::int64_t first, std::size_t n, std::size_t length);
  // Row i's head x [D], in place.
  void undo(std::size_t i, float* x) const noexcept;

 private:
  const RopeSpec* rope_;
  RopeAngles angles_;
  float square_ = 1.0F;  // of the magnitude
};

// The rotation averaged over positions first .. first + n - 1.
class MeanRotation {
 public:
  MeanRotation(const RopeSpec* rope, std::int64_t first, std::size_t n, std::size_t length);
  // x [D] with `stride` between its elements, in place.
  void apply(double* x, std::size_t stride) const noexcept;

 private:
  const RopeSpec* rope_;
  std::vector<double> cos_, sin_;  // [R/2]
};

}  // namespace thinkey
