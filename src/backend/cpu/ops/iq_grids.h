// The code books of ggml's IQ types: a code stands for 8 (IQ1, IQ2) or 4 (IQ3) weights at once, before signs
// and scales. Byte i of an entry is weight i. Made by tools/make_iq_grids.py.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace thinkey {

// What the elements of a row can be. IQ1's are eight times the file's, which then adds or subtracts 1.
inline constexpr std::array<std::int8_t, 3> kIq2Magnitudes{8, 25, 43};
inline constexpr std::array<std::int8_t, 8> kIq3Magnitudes{4, 12, 20, 28, 36, 44, 52, 62};
inline constexpr std::array<std::int8_t, 8> kIq3SMagnitudes{1, 3, 5, 7, 9, 11, 13, 15};
inline constexpr std::array<std::int8_t, 3> kIq1Values{-8, 0, 8};

extern const std::array<std::uint64_t, 256> kIq2XxsGrid;
extern const std::array<std::uint64_t, 512> kIq2XsGrid;
extern const std::array<std::uint64_t, 1024> kIq2SGrid;
extern const std::array<std::uint32_t, 256> kIq3XxsGrid;
extern const std::array<std::uint32_t, 512> kIq3SGrid;
extern const std::array<std::uint64_t, 2048> kIq1Grid;

// A table of indices, kBits each, as a table of bytes.
template <typename Row, unsigned kBits, std::size_t kRows, std::size_t kValues>
constexpr std::array<Row, kRows> widen_grid(const std::array<std::uint16_t, kRows>& packed,
                                            const std::array<std::int8_t, kValues>& values) {
  std::array<Row, kRows> out{};
  for (std::size_t r = 0; r < kRows; ++r) {
    for (std::size_t i = 0; i < sizeof(Row); ++i) {
      const std::size_t index = (unsigned{packed[r]} >> (kBits * i)) & ((1U << kBits) - 1U);
      out[r] |= static_cast<Row>(static_cast<Row>(static_cast<std::uint8_t>(values[index])) << (8 * i));
    }
  }
  return out;
}

}  // namespace thinkey
