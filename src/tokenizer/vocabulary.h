// The tokenizer's tables, checked, with the look-ups both families need.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "formats/model_file.h"
#include "tokenizer/piece_trie.h"

namespace thinkey {

class Vocabulary {
 public:
  // Throws Error(Data) when there are no tokens, the tables' lengths differ, a type is not one of
  // TokenType's, a score is not a number, or an id (BOS, EOS, unknown, end of generation) is out of
  // range or asked for but absent.
  explicit Vocabulary(TokenizerData data);
  Vocabulary(const Vocabulary&) = delete;
  Vocabulary& operator=(const Vocabulary&) = delete;

  [[nodiscard]] const TokenizerData& data() const noexcept { return data_; }
  [[nodiscard]] std::int32_t size() const noexcept { return static_cast<std::int32_t>(data_.tokens.size()); }
  [[nodiscard]] bool contains(std::int32_t id) const noexcept { return id >= 0 && id < size(); }

  // `id` must be contained.
  [[nodiscard]] const std::string& text(std::int32_t id) const { return data_.tokens[std::size_t(id)]; }
  [[nodiscard]] TokenType type(std::int32_t id) const { return data_.types[std::size_t(id)]; }

  // Entry with exactly this text; the lowest id of several.
  [[nodiscard]] std::optional<std::int32_t> find(std::string_view piece) const;
  // The same among the tokens that ordinary text may become: not control, unknown or byte tokens.
  [[nodiscard]] std::optional<std::int32_t> find_ordinary(std::string_view piece) const;

  // The text of a token as it is written: SentencePiece's space mark in a user-defined piece is a space.
  [[nodiscard]] std::string plain_text(std::int32_t id) const;

  [[nodiscard]] bool ends_generation(std::int32_t id) const noexcept;

  // Tokens that are found in a text before it is encoded.
  [[nodiscard]] const PieceTrie& standing_alone(bool parse_special) const noexcept {
    return parse_special ? special_ : user_defined_;
  }

 private:
  void check_ids() const;

  TokenizerData data_;
  std::unordered_map<std::string_view, std::int32_t> ids_;  // views into data_.tokens
  PieceTrie user_defined_;                                  // UserDefined
  PieceTrie special_;                                       // UserDefined, Control and Unknown
  std::vector<bool> ends_generation_;
};

inline constexpr std::string_view kSpaceMark = "\xE2\x96\x81";  // U+2581, SentencePiece's space
[[nodiscard]] std::string space_marks_to_spaces(std::string_view text);

}  // namespace thinkey
