#include "backend/cpu/ops/codebook_blocks.h"

#include <bit>
#include <cstring>

#include "backend/cpu/ops/iq_grids.h"

namespace thinkey {
namespace {

constexpr std::size_t kSubs = 8;  // of 32 weights in a block of 256

template <typename T>
T load(const std::uint8_t* p) noexcept {
  T value;
  std::memcpy(&value, p, sizeof(value));
  return value;
}

constexpr std::uint64_t kOnes = 0x0101010101010101U;

// 0xFF in the bytes that eight sign bits negate.
constexpr std::array<std::uint64_t, 256> make_masks() {
  std::array<std::uint64_t, 256> masks{};
  for (std::size_t signs = 0; signs < masks.size(); ++signs) {
    for (std::size_t i = 0; i < 8; ++i) masks[signs] |= std::uint64_t{(signs >> i) & 1U} * 0xFFU << (8 * i);
  }
  return masks;
}
constexpr std::array<std::uint64_t, 256> kMasks = make_masks();

// Eight sign bits from the seven that a file stores: the number of ones is even.
constexpr std::array<std::uint8_t, 128> make_even() {
  std::array<std::uint8_t, 128> even{};
  for (unsigned i = 0; i < even.size(); ++i) {
    even[i] = static_cast<std::uint8_t>(i | static_cast<unsigned>(std::popcount(i) % 2) << 7U);
  }
  return even;
}
constexpr std::array<std::uint8_t, 128> kEven = make_even();

// Eight positive bytes, negated where `signs` has a one.
void put_signed(std::uint64_t bytes, std::uint8_t signs, std::int8_t* out) noexcept {
  const std::uint64_t mask = kMasks[signs];
  const std::uint64_t value = (bytes ^ mask) + (mask & kOnes);  // no carry: no byte is zero
  std::memcpy(out, &value, sizeof(value));
}

std::int8_t odd(unsigned scale) noexcept { return static_cast<std::int8_t>(2 * scale + 1); }

// Eight scales of four bits, low nibbles first.
void put_nibble_scales(const std::uint8_t* packed, std::size_t count, std::int8_t* out) noexcept {
  for (std::size_t i = 0; i < count; ++i) out[i] = odd((packed[i / 2] >> (4 * (i % 2))) & 0xFU);
}

std::uint64_t pair_of(const std::array<std::uint32_t, 256>& grid, unsigned first, unsigned second) noexcept {
  return grid[first] | (std::uint64_t{grid[second]} << 32U);
}

// Eight weights of IQ1: 8 g + 1, or 8 g - 1.
void put_shifted(unsigned row, bool minus, std::int8_t* out) noexcept {
  constexpr std::uint64_t kTops = 0x80 * kOnes;
  const std::uint64_t g = kIq1Grid[row];
  const std::uint64_t less = ((g | kTops) - kOnes) ^ (~g & kTops);     // byte by byte
  const std::uint64_t more = g + kOnes;                                // no carry: no byte is 0xFF
  const std::uint64_t mask = std::uint64_t{0} - std::uint64_t{minus};  // a branch would be mispredicted
  const std::uint64_t value = (less & mask) | (more & ~mask);
  std::memcpy(out, &value, sizeof(value));
}

}  // namespace

// f16 d; per 32 weights: 4 row numbers, then 4 x 7 sign bits and a scale of 4 bits.
template <>
void unpack_codebook<TensorType::IQ2_XXS>(const std::uint8_t* block, CodebookGroup& out) noexcept {
  out.d = load<f16_bits>(block);
  for (std::size_t s = 0; s < kSubs; ++s) {
    const std::uint8_t* sub = block + 2 + 8 * s;
    const auto signs = load<std::uint32_t>(sub + 4);
    out.scales[s] = odd(signs >> 28U);
    for (std::size_t k = 0; k < 4; ++k) {
      put_signed(kIq2XxsGrid[sub[k]], kEven[(signs >> (7 * k)) & 0x7FU], out.values + 32 * s + 8 * k);
    }
  }
}

// f16 d; 32 numbers of 9 bits for the row and 7 for signs; 16 scales of 4 bits.
template <>
void unpack_codebook<TensorType::IQ2_XS>(const std::uint8_t* block, CodebookGroup& out) noexcept {
  out.d = load<f16_bits>(block);
  for (std::size_t k = 0; k < 32; ++k) {
    const unsigned code = load<std::uint16_t>(block + 2 + 2 * k);
    put_signed(kIq2XsGrid[code & 511U], kEven[code >> 9U], out.values + 8 * k);
  }
  put_nibble_scales(block + 66, 16, out.scales);
}

// f16 d; 32 low bytes of row numbers; 32 bytes of signs; 8 of the rows' upper pairs of bits; 16 scales.
template <>
void unpack_codebook<TensorType::IQ2_S>(const std::uint8_t* block, CodebookGroup& out) noexcept {
  out.d = load<f16_bits>(block);
  for (std::size_t k = 0; k < 32; ++k) {
    const unsigned upper = (unsigned{block[66 + k / 4]} >> (2 * (k % 4))) & 3U;
    put_signed(kIq2SGrid[block[2 + k] | (upper << 8U)], block[34 + k], out.values + 8 * k);
  }
  put_nibble_scales(block + 74, 16, out.scales);
}

// f16 d; 64 row numbers; per 32 weights 4 x 7 sign bits and a scale of 4 bits.
template <>
void unpack_codebook<TensorType::IQ3_XXS>(const std::uint8_t* block, CodebookGroup& out) noexcept {
  out.d = load<f16_bits>(block);
  for (std::size_t s = 0; s < kSubs; ++s) {
    const std::uint8_t* rows = block + 2 + 8 * s;
    const auto signs = load<std::uint32_t>(block + 66 + 4 * s);
    out.scales[s] = odd(signs >> 28U);
    for (std::size_t k = 0; k < 4; ++k) {
      put_signed(pair_of(kIq3XxsGrid, rows[2 * k], rows[2 * k + 1]), kEven[(signs >> (7 * k)) & 0x7FU],
                 out.values + 32 * s + 8 * k);
    }
  }
}

// f16 d; 64 low bytes of row numbers; 8 bytes with their ninth bits; 32 bytes of signs; 8 scales of 4 bits.
template <>
void unpack_codebook<TensorType::IQ3_S>(const std::uint8_t* block, CodebookGroup& out) noexcept {
  out.d = load<f16_bits>(block);
  for (std::size_t k = 0; k < 32; ++k) {
    const unsigned ninth = unsigned{block[66 + k / 4]} >> (2 * (k % 4));
    const std::size_t first = block[2 + 2 * k] | ((ninth & 1U) << 8U);
    const std::size_t second = block[3 + 2 * k] | ((ninth & 2U) << 7U);
    put_signed(kIq3SGrid[first] | (std::uint64_t{kIq3SGrid[second]} << 32U), block[74 + k],
               out.values + 8 * k);
  }
  put_nibble_scales(block + 106, 8, out.scales);
}

// f16 d; 32 low bytes of row numbers; per 32 weights a word: 4 x 3 upper bits, a scale of 3, the shift's
// sign.
template <>
void unpack_codebook<TensorType::IQ1_S>(const std::uint8_t* block, CodebookGroup& out) noexcept {
  out.d = load<f16_bits>(block);
  for (std::size_t s = 0; s < kSubs; ++s) {
    const unsigned word = load<std::uint16_t>(block + 34 + 2 * s);
    out.scales[s] = odd((word >> 12U) & 7U);
    for (std::size_t k = 0; k < 4; ++k) {
      put_shifted(block[2 + 4 * s + k] | (((word >> (3 * k)) & 7U) << 8U), (word & 0x8000U) != 0,
                  out.values + 32 * s + 8 * k);
    }
  }
}

// 32 low bytes of row numbers; 16 bytes: per 8 weights 3 upper bits and the shift's sign; four words, each
// with four scales of 3 bits and a quarter of the f16 d on top.
template <>
void unpack_codebook<TensorType::IQ1_M>(const std::uint8_t* block, CodebookGroup& out) noexcept {
  unsigned d = 0;
  for (std::size_t j = 0; j < 4; ++j) {
    const unsigned word = load<std::uint16_t>(block + 48 + 2 * j);
    d |= (word >> 12U) << (4 * j);
    for (std::size_t i = 0; i < 4; ++i) out.scales[4 * j + i] = odd((word >> (3 * i)) & 7U);
  }
  out.d = {static_cast<std::uint16_t>(d)};
  for (std::size_t k = 0; k < 32; ++k) {
    const unsigned upper = unsigned{block[32 + k / 2]} >> (4 * (k % 2));
    put_shifted(block[k] | ((upper & 7U) << 8U), (upper & 8U) != 0, out.values + 8 * k);
  }
}

}  // namespace thinkey
