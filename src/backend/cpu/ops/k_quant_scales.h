// The 6-bit numbers of the K-quants' headers, unpacked in this one place: twelve bytes to sixteen.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>

namespace thinkey {

// Bytes 4 i .. 4 i + 3 of the result are word i (little-endian).
using SixBitNumbers = std::array<std::uint32_t, 4>;

// Q4_K and Q5_K: scales 0-7, then minima 0-7. Bytes 0-3 hold scales 0-3, 4-7 minima 0-3, 8-11 the low nibbles
// of scales (low) and minima (high) 4-7, whose upper two bits sit on top of bytes 0-3 and 4-7.
[[nodiscard]] inline SixBitNumbers unpack_scales_and_minima(const std::uint8_t* packed) noexcept {
  std::uint32_t p[3];
  std::memcpy(p, packed, sizeof(p));
  return {p[0] & 0x3F3F3F3FU, (p[2] & 0x0F0F0F0FU) | ((p[0] >> 2U) & 0x30303030U), p[1] & 0x3F3F3F3FU,
          ((p[2] >> 4U) & 0x0F0F0F0FU) | ((p[1] >> 2U) & 0x30303030U)};
}

// Q3_K: 16 scales plus 32. Bytes 0-7 hold the low nibbles of scales 0-7 (low) and 8-15 (high); pair j of bits
// of byte 8 + i is on top of scale 4 j + i.
[[nodiscard]] inline SixBitNumbers unpack_sixteen_scales(const std::uint8_t* packed) noexcept {
  std::uint32_t p[3];
  std::memcpy(p, packed, sizeof(p));
  const auto top = [&](unsigned pair) { return ((p[2] >> (2 * pair)) & 0x03030303U) << 4U; };
  return {(p[0] & 0x0F0F0F0FU) | top(0), (p[1] & 0x0F0F0F0FU) | top(1), ((p[0] >> 4U) & 0x0F0F0F0FU) | top(2),
          ((p[1] >> 4U) & 0x0F0F0F0FU) | top(3)};
}

}  // namespace thinkey
