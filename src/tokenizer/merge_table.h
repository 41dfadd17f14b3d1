// The merges of a tokenizer as pairs of ids.
#pragma once

#include <cstdint>
#include <optional>
#include <unordered_map>

#include "base/fail.h"
#include "tokenizer/merge_symbols.h"
#include "tokenizer/vocabulary.h"

namespace thinkey {

class MergeTable {
 public:
  // Throws Error(Data) when a merge's halves or its result are not in the vocabulary.
  explicit MergeTable(const Vocabulary& vocabulary) {
    const auto& merges = vocabulary.data().merges;
    merges_.reserve(merges.size());
    for (std::size_t rank = 0; rank < merges.size(); ++rank) {
      const auto& [left, right] = merges[rank];
      const auto left_id = vocabulary.find(left);
      const auto right_id = vocabulary.find(right);
      const auto merged_id = vocabulary.find(left + right);
      if (!left_id || !right_id || !merged_id) {
        fail_data(R"(tokenizer: merge {} ("{}" "{}") names a piece that is not in the vocabulary)", rank,
                  left, right);
      }
      merges_.try_emplace(key(*left_id, *right_id), Merge{static_cast<double>(rank), *merged_id});
    }
  }

  [[nodiscard]] std::optional<Merge> find(std::int32_t left, std::int32_t right) const {
    if (left < 0 || right < 0) return std::nullopt;
    const auto found = merges_.find(key(left, right));
    if (found == merges_.end()) return std::nullopt;
    return found->second;
  }

 private:
  struct Hash {
    // Ids fill only the low bits of each half, and the standard library's hash is the identity.
    std::size_t operator()(std::uint64_t pair) const noexcept {
      pair *= 0x9E3779B97F4A7C15ULL;
      return static_cast<std::size_t>(pair ^ (pair >> 32U));
    }
  };
  static std::uint64_t key(std::int32_t left, std::int32_t right) {
    return (std::uint64_t{static_cast<std::uint32_t>(left)} << 32U) | static_cast<std::uint32_t>(right);
  }

  std::unordered_map<std::uint64_t, Merge, Hash> merges_;
};

}  // namespace thinkey
