#include "tokenizer/space_boundaries.h"

#include "formats/pre_tokenizer_table.h"
#include "tokenizer/characters.h"
#include "tokenizer/utf8.h"

namespace thinkey {

SpaceBoundaries::SpaceBoundaries(const Vocabulary& vocabulary) {
  const TokenizerData& data = vocabulary.data();
  // What is at a word's ends, or the word as a whole, must not matter, nor may an unknown token span words.
  usable_ = data.model != TokenizerModel::Unigram && !data.ignore_merges && data.subword_prefix.empty() &&
            data.word_suffix.empty() && vocabulary.find_ordinary(kSpaceMark) >= 0;
  if (!usable_) return;
  for (const std::string& piece : data.tokens) {
    for (std::size_t at = piece.find(kSpaceMark, 1); at != std::string::npos;
         at = piece.find(kSpaceMark, at + 1)) {
      if (find_invalid_utf8(std::string_view(piece).substr(0, at))) {
        usable_ = false;
        return;
      }
      joined_.insert(last_character(std::string_view(piece).substr(0, at)));
    }
  }
  joined_.insert(first_character(kSpaceMark));  // runs of spaces stay whole
}

bool SpaceBoundaries::separates(std::string_view before) const {
  return !joined_.contains(last_character(before));
}

void SpaceBoundaries::split(std::string_view word, std::vector<std::string_view>& parts) const {
  std::size_t begin = 0;
  if (usable_) {
    for (std::size_t at = word.find(kSpaceMark, 1); at != std::string_view::npos;
         at = word.find(kSpaceMark, at + kSpaceMark.size())) {
      if (!separates(word.substr(begin, at - begin))) continue;
      parts.push_back(word.substr(begin, at - begin));
      begin = at;
    }
  }
  parts.push_back(word.substr(begin));
}

}  // namespace thinkey
