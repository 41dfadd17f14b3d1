// What is decided of a head's channels: which are stored, and in how many bits each.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/half.h"

namespace thinkey {

inline constexpr std::size_t kBlockTokens = 32;  // KIVI's group of keys; tokens are stored by so many

enum class ElementFormat : std::uint8_t { I16, Q8, Q4, Q2 };
inline constexpr std::size_t kElementFormats = 4;

[[nodiscard]] constexpr std::size_t element_bits(ElementFormat format) noexcept {
  constexpr std::size_t bits[] = {16, 8, 4, 2};
  return bits[static_cast<std::size_t>(format)];
}

// Bytes of 32 tokens of so many key channels of one format, with their scales and minima or exponents.
[[nodiscard]] constexpr std::size_t key_run_bytes(ElementFormat format, std::size_t channels) noexcept {
  if (channels == 0) return 0;
  const std::size_t rows = channels * kBlockTokens * element_bits(format) / 8;
  return rows + (format == ElementFormat::I16 ? kBlockTokens : 2 * channels * sizeof(f16_bits));
}

// Key channels per format, in the order they are stored.
using KeyCounts = std::array<std::size_t, kElementFormats>;

[[nodiscard]] constexpr KeyCounts uniform_keys(std::size_t channels, ElementFormat format) noexcept {
  KeyCounts counts{};
  counts[static_cast<std::size_t>(format)] = channels;
  return counts;
}

// Which key channels a head keeps and in which format each is stored.
struct KeyPlan {
  std::vector<std::int32_t> channels;  // as stored: format by format, ascending within each
  KeyCounts formats{};                 // how many of them each format has
};

// What pruning decided for a head.
struct HeadPlan {
  KeyPlan keys;
  std::vector<float> key_mean;  // [D], of which the dropped channels' is added back; empty: none is
  std::vector<std::int32_t> value_channels;  // kept, ascending
};

}  // namespace thinkey
