// Flat hash tables of a vocabulary: pieces by their bytes, merges by their halves.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <vector>

namespace thinkey {

[[nodiscard]] inline std::uint64_t mix(std::uint64_t a, std::uint64_t b) noexcept {
  __extension__ using Wide = unsigned __int128;
  const Wide product = static_cast<Wide>(a ^ 0x9E3779B97F4A7C15ULL) * (b ^ 0xD1B54A32D192ED03ULL);
  return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64U);
}

[[nodiscard]] inline std::uint64_t hash_bytes(std::string_view bytes) noexcept {
  std::uint64_t hash = bytes.size();
  while (bytes.size() >= 8) {
    std::uint64_t word = 0;
    std::memcpy(&word, bytes.data(), 8);
    hash = mix(hash, word);
    bytes.remove_prefix(8);
  }
  std::uint64_t rest = 0;
  if (!bytes.empty()) std::memcpy(&rest, bytes.data(), bytes.size());
  return mix(hash, rest);
}

// Strings to ids. The strings must outlive the table.
class PieceTable {
 public:
  void reserve(std::size_t count) { slots_.assign(std::bit_ceil(2 * count + 2), Slot{}); }

  // The first id given for a piece stays. At most as many pieces as reserved.
  void insert(std::string_view piece, std::int32_t id) {
    const std::size_t at = find_slot(piece);
    if (slots_[at].id < 0) slots_[at] = {piece, id};
  }
  // -1 when there is none.
  [[nodiscard]] std::int32_t find(std::string_view piece) const noexcept {
    return slots_.empty() ? -1 : slots_[find_slot(piece)].id;
  }

 private:
  struct Slot {
    std::string_view piece;
    std::int32_t id = -1;
  };
  [[nodiscard]] std::size_t find_slot(std::string_view piece) const noexcept {
    const std::size_t mask = slots_.size() - 1;
    std::size_t at = static_cast<std::size_t>(hash_bytes(piece)) & mask;
    while (slots_[at].id >= 0 && slots_[at].piece != piece) at = (at + 1) & mask;
    return at;
  }
  std::vector<Slot> slots_;
};

// Pairs of ids to the rank of their merge and what it makes.
class MergeTable {
 public:
  struct Merge {
    std::int32_t rank = -1;  // -1: none
    std::int32_t id = -1;
  };
  void reserve(std::size_t count) { slots_.assign(std::bit_ceil(2 * count + 2), Slot{}); }

  // The first merge given for a pair stays. At most as many as reserved.
  void insert(std::int32_t left, std::int32_t right, Merge merge) {
    Slot& slot = slots_[find_slot(key(left, right))];
    if (slot.merge.rank < 0) slot = {key(left, right), merge};
  }
  [[nodiscard]] Merge find(std::int32_t left, std::int32_t right) const noexcept {
    if (left < 0 || right < 0 || slots_.empty()) return {};
    return slots_[find_slot(key(left, right))].merge;
  }

 private:
  struct Slot {
    std::uint64_t key = 0;
    Merge merge;
  };
  static std::uint64_t key(std::int32_t left, std::int32_t right) noexcept {
    return (std::uint64_t{static_cast<std::uint32_t>(left)} << 32U) | static_cast<std::uint32_t>(right);
  }
  [[nodiscard]] std::size_t find_slot(std::uint64_t wanted) const noexcept {
    const std::size_t mask = slots_.size() - 1;
    std::size_t at = static_cast<std::size_t>(mix(wanted, 0)) & mask;
    while (slots_[at].merge.rank >= 0 && slots_[at].key != wanted) at = (at + 1) & mask;
    return at;
  }
  std::vector<Slot> slots_;
};

}  // namespace thinkey
