// Reproducible normal numbers for tests of the element kernels.
#pragma once

#include <cstddef>
#include <random>
#include <vector>

namespace thinkey {

inline std::vector<float> normal_numbers(std::size_t n, unsigned seed, float deviation = 1.0F) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal(0.0F, deviation);
  std::vector<float> x(n);
  for (float& value : x) value = normal(generator);
  return x;
}

}  // namespace thinkey
