// Random choices that are the same everywhere; the standard library's distributions differ.
#pragma once

#include <cstddef>
#include <cstdint>
#include <random>
#include <string_view>
#include <utility>

namespace thinkey::eval {

using Random = std::mt19937_64;

// For one sample of a run: the same whatever other samples there are.
[[nodiscard]] inline Random random_for(std::uint64_t seed, std::string_view sample) {
  std::uint64_t hash = 0xcbf29ce484222325U ^ (seed * 0x9e3779b97f4a7c15U);  // FNV-1a
  for (const char c : sample) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3U;
  return Random(hash);
}

// Uniform in [0, n).
[[nodiscard]] inline std::size_t below(Random& random, std::size_t n) {
  return static_cast<std::size_t>(random() % n);
}

[[nodiscard]] inline bool chance(Random& random, double probability) {
  return static_cast<double>(random() >> 11U) * 0x1.0p-53 < probability;
}

template <typename List>
[[nodiscard]] const auto& pick(Random& random, const List& list) {
  return list[below(random, std::size(list))];
}

template <typename List>
void shuffle(Random& random, List& list) {
  for (std::size_t i = std::size(list); i > 1; --i) std::swap(list[i - 1], list[below(random, i)]);
}

}  // namespace thinkey::eval
