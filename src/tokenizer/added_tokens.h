// Tokens that are found in a text before anything else: control, unknown and user-defined ones.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/piece_tree.h"
#include "tokenizer/vocabulary.h"

namespace thinkey {

class AddedTokens {
 public:
  struct Match {
    std::size_t start = 0, end = 0;  // with the white space the token takes along
    std::int32_t id = -1;
    std::size_t search_from = 0;  // where the token itself ends: in its white space others are found too
  };

  explicit AddedTokens(const Vocabulary& vocabulary);

  // The leftmost token at or after `from`, the longest of those that begin there; tokens searched for in the
  // raw or in the normalized text. White space in front of it is taken from `rest` on. Control and unknown
  // tokens are passed over, with the text they stand in, unless `parse_special`.
  [[nodiscard]] std::optional<Match> find(std::string_view text, std::size_t from, std::size_t rest,
                                          bool normalized, bool parse_special) const;
  [[nodiscard]] bool has_normalized() const noexcept { return !normalized_.empty(); }

 private:
  [[nodiscard]] bool stands_free(std::string_view text, const Match& match) const;
  [[nodiscard]] Match with_spaces(std::string_view text, std::size_t rest, Match match) const;

  struct Flags {
    bool control = false, single_word = false, lstrip = false, rstrip = false;
  };
  [[nodiscard]] const Flags& flags(std::int32_t id) const {
    return flags_[std::size_t(slots_[std::size_t(id)])];
  }

  std::vector<std::string> texts_;   // as they are written
  std::vector<std::int32_t> slots_;  // per id: position in flags_, -1 for ordinary tokens
  std::vector<Flags> flags_;
  PieceTree raw_, normalized_;
};

}  // namespace thinkey
