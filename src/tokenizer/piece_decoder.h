// Ids back to bytes: the decoders of a tokenizer, done ahead for every piece.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "tokenizer/regex.h"
#include "tokenizer/vocabulary.h"

namespace thinkey {

class PieceDecoder {
 public:
  // Throws Error(Data) for decoders that cannot be done piece by piece, naming them. The vocabulary must
  // outlive it.
  explicit PieceDecoder(const Vocabulary& vocabulary);

  // A token's bytes behind other tokens; may be part of a character. Control and unknown tokens as they
  // are written. `id` must be contained.
  [[nodiscard]] std::string_view bytes(std::int32_t id) const {
    const std::size_t at = offsets_[std::size_t(id)];
    return std::string_view(bytes_).substr(at, offsets_[std::size_t(id) + 1] - at);
  }
  // The same at the beginning of a text, before strip() of it.
  [[nodiscard]] std::string first_bytes(std::int32_t id) const;

  // The text loses `strip_text` at its beginning up to so many times.
  [[nodiscard]] std::size_t strip_count() const noexcept { return strip_count_; }
  [[nodiscard]] const std::string& strip_text() const noexcept { return strip_text_; }
  [[nodiscard]] bool joins_with_spaces() const noexcept { return vocabulary_.data().joins_with_spaces; }
  // The piece ends a word, so that its last byte is a space which the text's end does not have.
  [[nodiscard]] bool ends_word(std::int32_t id) const;

 private:
  [[nodiscard]] std::string decode(std::int32_t id, bool first) const;

  const Vocabulary& vocabulary_;
  std::vector<DecoderStep> steps_;                            // of single pieces
  std::vector<Regex> expressions_;                            // of the ReplacePattern steps, in order
  std::unordered_map<std::int32_t, std::string> normalized_;  // texts of tokens found in the normalized text
  std::string strip_text_, word_suffix_;
  std::size_t strip_count_ = 0;
  std::string bytes_;
  std::vector<std::size_t> offsets_;
};

}  // namespace thinkey
