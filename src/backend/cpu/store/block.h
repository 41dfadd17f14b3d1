// The unit of cache storage: up to 32 tokens of one KV head, keys and values side by side.
//
// Every block begins with its tokens' positions, [32] i32, -1 where it has no token; or, where all are
// neighbours, with the first one's and their number, [2] i32.
//
// 16-bit blocks, in fixed point with a power of two for each token's keys and each token's values
// (fixed_point.h):
//   keys             [channels / 2][32][2] i16        two channels of 32 tokens: (c, t), (c + 1, t),
//                                                     (c, t + 1), ...; a last odd channel alone, [32]
//   key exponents    [32] i8
//   value exponents  [32] i8
//   values           [16][64][2] i16                  two tokens: (t, c), (t + 1, c), (t, c + 1), ...; unit
//                                                     after unit of 64 channels, then the rest
// Quantized blocks (KIVI, 2402.02750; keys per channel over the block's 32 tokens, values per token
// over groups of channels; x = code * scale + minimum):
//   key scales    [channels] f16, then minima likewise
//   key codes     [channels / 4][32][4] x bits; the last one to three channels alone, [32] x bits each
//   value scales  [groups][2][32] f16: scales, then minima
//   value codes   [8][32][4] x bits, unit after unit of 32 channels, then the rest
// Blocks of levels (TurboQuant, 2504.19874; of rotated keys and values, a scale for each token's of either):
//   key scales    [32] u8, [4] i8: their common exponent (levels.h), three zeros
//   key codes     [channels / 4][32][4] x bits, channels rounded up to fours
//   value scales  as of keys
//   value codes   [8][32][4] x bits, unit after unit of 32 channels, their number rounded up to units
// Keys of several formats lie in runs, one after another in the order of ElementFormat, each as above.
//
// A pruned channel is a row that is not there. Decode attention reads blocks strictly front to back: one
// stream of memory, which the CPU then fetches ahead. Unused token slots hold zeros.
//
// Machines multiply and add pairs of 16-bit and quads of 8-bit numbers. Hence what is summed over lies side
// by side: channels of keys and tokens of values, two 16-bit numbers or four codes.
//
// Codes of 4 and 2 bits lie in planes, so that one load and one shift give a vector of neighbouring quads: of
// 32 tokens or channels, bytes 4 i .. 4 i + 3 hold the quads i, i + 16 (4 bits); i, i + 8, i + 16, i + 24
// (2 bits); in planes of one bit, i, i + 4, ..., i + 28. A last unit of n < 32 value channels of KIVI has
// planes of ceil(n * bits / 8) quads. Levels of 3, 5 and 6 bits are two rows, one after the other: the lower
// 2, 4 and 4 bits, then the rest.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "backend/attention_shape.h"
#include "backend/key_plan.h"
#include "base/half.h"

namespace thinkey {

inline constexpr std::size_t kUnit = 32;  // elements whose codes are packed together
inline constexpr std::size_t kMaxChannels = kMaxHeadDim;

// How many channels (of keys) or tokens (of values) lie side by side.
[[nodiscard]] constexpr std::size_t elements_together(ElementFormat format) noexcept {
  return format == ElementFormat::I16 ? 2 : 4;
}
// Quads of codes in a plane of a whole unit.
[[nodiscard]] constexpr std::size_t plane_quads(ElementFormat format) noexcept {
  return kUnit * element_bits(format) / 8;
}

// Key channels of one format.
struct KeyRun {
  ElementFormat format = ElementFormat::I16;
  std::size_t first = 0, channels = 0;  // channels of the block
  std::size_t query = 0;                // numbers of a packed query row before this run's
  std::size_t scales = 0, rows = 0;     // bytes from the block's start; minima follow; of I16: exponents
  std::size_t row = 0;                  // bytes of the channels that lie side by side

  [[nodiscard]] std::size_t together() const noexcept { return elements_together(format); }
  // Numbers of a packed query row: the channels, rounded up to those that lie side by side.
  [[nodiscard]] std::size_t query_numbers() const noexcept {
    return (channels + together() - 1) / together() * together();
  }
  bool operator==(const KeyRun&) const = default;
};

struct BlockLayout {
  std::size_t key_channels = 0;    // D'
  std::size_t value_channels = 0;  // D'v
  std::array<KeyRun, kElementFormats> key_runs;
  ElementFormat value_format = ElementFormat::I16;
  std::size_t value_group = kUnit;  // channels that share a scale, a multiple of kUnit (KIVI)
  bool listed = true;               // every position is written down

  // Bytes from the block's start. The scales of 16-bit values are their exponents.
  std::size_t value_scales = 0, values = 0;
  std::size_t bytes = 0;  // of the block, a multiple of 64; of levels, of 16

  BlockLayout() = default;
  BlockLayout(const KeyCounts& keys, std::size_t value_channels, ElementFormat value_format,
              std::size_t value_group = kUnit, bool listed = true) noexcept;
  // 16 bits throughout.
  BlockLayout(std::size_t keys, std::size_t values_) noexcept
      : BlockLayout(uniform_keys(keys, ElementFormat::I16), values_, ElementFormat::I16) {}

  [[nodiscard]] bool values_quantized() const noexcept { return value_format != ElementFormat::I16; }
  [[nodiscard]] bool has_levels() const noexcept { return is_level(value_format); }
  // Whether any row, of keys or values, holds codes.
  [[nodiscard]] bool has_codes() const noexcept {
    return values_quantized() || key_runs.front().channels < key_channels;
  }
  // Numbers of one packed query row.
  [[nodiscard]] std::size_t query_numbers() const noexcept {
    return key_runs.back().query + key_runs.back().query_numbers();
  }
  // Value channels that are stored together; a block's last may be fewer.
  [[nodiscard]] std::size_t value_unit() const noexcept { return values_quantized() ? kUnit : 2 * kUnit; }
  // Bytes from the block's start of the values of channels [first, ...), a multiple of value_unit().
  [[nodiscard]] std::size_t values_at(std::size_t first) const noexcept {
    return values + first * kBlockTokens * element_bits(value_format) / 8;
  }
  // Pairs of 16-bit values, or quads in a plane of codes, of the unit that begins with channel `first`. They
  // are four bytes each and make a row, of the tokens that lie side by side.
  [[nodiscard]] std::size_t value_lanes(std::size_t first) const noexcept {
    const std::size_t left = value_channels - first;
    const std::size_t channels = left < value_unit() ? left : value_unit();
    return values_quantized() ? (channels * element_bits(value_format) + 7) / 8 : channels;
  }
  [[nodiscard]] std::size_t value_units() const noexcept { return (value_channels + kUnit - 1) / kUnit; }
  [[nodiscard]] std::size_t value_groups() const noexcept {
    return (value_channels + value_group - 1) / value_group;
  }

  // Where value channel c of a row stands among the 32 slots per unit that unpacking yields.
  [[nodiscard]] std::size_t value_slot(std::size_t c) const noexcept;
  // Whether that is c for all.
  [[nodiscard]] bool value_slots_in_order() const noexcept {
    return element_bits(value_format) >= 8 || is_level(value_format) || value_channels % kUnit == 0;
  }

  template <typename T, typename Byte>
  [[nodiscard]] static auto* at(Byte* block, std::size_t offset) noexcept {
    if constexpr (std::is_const_v<Byte>) {
      return reinterpret_cast<const T*>(block + offset);
    } else {
      return reinterpret_cast<T*>(block + offset);
    }
  }
  // Tokens in the block, 0 .. 32.
  [[nodiscard]] std::size_t count(const std::byte* block) const noexcept {
    const std::int32_t* head = at<std::int32_t>(block, 0);
    if (!listed) return static_cast<std::size_t>(head[1]);
    return head[kBlockTokens - 1] >= 0 ? kBlockTokens : listed_count(head);
  }
  // Of one of its tokens.
  [[nodiscard]] std::int32_t position(const std::byte* block, std::size_t token) const noexcept {
    const std::int32_t* head = at<std::int32_t>(block, 0);
    return listed ? head[token] : head[0] + static_cast<std::int32_t>(token);
  }
  // The block has its first `tokens` tokens alone; what the others were lies there unseen.
  void forget_after(std::byte* block, std::size_t tokens) const noexcept;
  // Whether the block, of any origin, says where up to 32 tokens stand and nothing of others.
  [[nodiscard]] bool has_sound_positions(const std::byte* block) const noexcept;
  // Of the next token; neighbours' only where they are not listed.
  void add_position(std::byte* block, std::size_t token, std::int32_t position) const noexcept;

  // Zeros and no tokens.
  void clear(std::byte* block) const noexcept;

  bool operator==(const BlockLayout&) const = default;

 private:
  [[nodiscard]] static std::size_t listed_count(const std::int32_t* positions) noexcept;
};

}  // namespace thinkey
