#include "backend/stages.h"

#include <cmath>

namespace thinkey {

std::span<const float> rope_frequencies(const RopeSpec& rope, std::size_t length,
                                        std::vector<float>& scratch) {
  if (rope.limit == 0 || length <= rope.limit) return rope.inverse_frequencies;
  if (!rope.long_inverse_frequencies.empty()) return rope.long_inverse_frequencies;
  if (rope.dynamic_factor == 0.0) return rope.inverse_frequencies;
  // The base for which the longest wavelength grows as the sequence does.
  const auto dim = static_cast<double>(rope.rotated);
  const double growth = rope.dynamic_factor * static_cast<double>(length) / static_cast<double>(rope.limit) -
                        (rope.dynamic_factor - 1.0);
  const double base = rope.theta * std::pow(growth, dim / (dim - 2.0));
  scratch.resize(rope.inverse_frequencies.size());
  for (std::size_t i = 0; i < scratch.size(); ++i) {
    scratch[i] = static_cast<float>(std::pow(base, -2.0 * static_cast<double>(i) / dim));
  }
  return scratch;
}

}  // namespace thinkey
