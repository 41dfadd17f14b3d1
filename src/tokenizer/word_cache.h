// Remembers the ids of short words within one encode() call: most of a text is the same few thousand words.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <vector>

#include "tokenizer/piece_table.h"

namespace thinkey {

class WordCache {
 public:
  static constexpr std::size_t kMostBytes = 24;
  static constexpr std::size_t kMostIds = 8;

  // For a text of so many bytes; never more than 2 MiB.
  explicit WordCache(std::size_t text_bytes)
      : slots_(std::bit_ceil(std::clamp<std::size_t>(text_bytes / 8, 64, kMostSlots))) {}

  struct Key {
    std::array<std::uint64_t, 3> words{};
    std::uint8_t bytes = 0;
    // Not the default one, which calls memcmp.
    bool operator==(const Key& other) const noexcept {
      return ((words[0] ^ other.words[0]) | (words[1] ^ other.words[1]) | (words[2] ^ other.words[2])) == 0 &&
             bytes == other.bytes;
    }
  };
  // bytes = 0: the word is too long to be remembered.
  [[nodiscard]] static Key key(std::string_view word) noexcept {
    Key key;
    if (word.size() > kMostBytes) return key;
    key.bytes = static_cast<std::uint8_t>(word.size());
    std::memcpy(key.words.data(), word.data(), word.size());
    return key;
  }

  // Appends the word's ids if they are known.
  [[nodiscard]] bool append(const Key& key, std::vector<std::int32_t>& ids) const {
    const Slot& slot = slots_[index(key)];
    if (slot.key != key) return false;
    ids.insert(ids.end(), slot.ids.begin(), slot.ids.begin() + slot.count);
    return true;
  }
  void remember(const Key& key, std::span<const std::int32_t> ids) {
    if (key.bytes == 0 || ids.size() > kMostIds) return;
    Slot& slot = slots_[index(key)];
    slot.key = key;
    slot.count = static_cast<std::uint8_t>(ids.size());
    std::copy(ids.begin(), ids.end(), slot.ids.begin());
  }

 private:
  static constexpr std::size_t kMostSlots = std::size_t{1} << 15U;
  struct Slot {
    Key key;  // of no word at first
    std::uint8_t count = 0;
    std::array<std::int32_t, kMostIds> ids{};
  };
  [[nodiscard]] std::size_t index(const Key& key) const noexcept {
    return static_cast<std::size_t>(mix(mix(key.words[0], key.words[1]), key.words[2])) & (slots_.size() - 1);
  }
  std::vector<Slot> slots_;
};

}  // namespace thinkey
