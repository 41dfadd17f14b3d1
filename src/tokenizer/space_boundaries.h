// Where a text without pre-tokens may be cut all the same: between a character and U+2581 when no piece
// contains the two side by side, so that no merge can join them. The ids stay exactly the same, but words
// can be remembered.
#pragma once

#include <string_view>
#include <unordered_set>
#include <vector>

#include "tokenizer/vocabulary.h"

namespace thinkey {

class SpaceBoundaries {
 public:
  explicit SpaceBoundaries(const Vocabulary& vocabulary);

  // Appends the parts of `word`: all of it where nothing is known to be a boundary.
  void split(std::string_view word, std::vector<std::string_view>& parts) const;

 private:
  [[nodiscard]] bool separates(std::string_view before) const;

  bool usable_ = false;
  std::unordered_set<char32_t> joined_;  // characters that some piece has in front of U+2581
};

}  // namespace thinkey
