// The tokenizer's tables, checked, with the look-ups that all models need.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "formats/tokenizer_data.h"
#include "tokenizer/piece_table.h"

namespace thinkey {

class Vocabulary {
 public:
  // Throws Error(Data) when there are no tokens, the tables' lengths differ, a type is not one of
  // TokenType's, a score is not a number, a piece is longer than any text needs, or an id (BOS, EOS,
  // unknown, end of generation, added token) is out of range or asked for but absent.
  explicit Vocabulary(TokenizerData data);
  Vocabulary(const Vocabulary&) = delete;
  Vocabulary& operator=(const Vocabulary&) = delete;

  [[nodiscard]] const TokenizerData& data() const noexcept { return data_; }
  [[nodiscard]] std::int32_t size() const noexcept { return static_cast<std::int32_t>(data_.tokens.size()); }
  [[nodiscard]] bool contains(std::int32_t id) const noexcept { return id >= 0 && id < size(); }

  // `id` must be contained.
  [[nodiscard]] const std::string& text(std::int32_t id) const { return data_.tokens[std::size_t(id)]; }
  [[nodiscard]] TokenType type(std::int32_t id) const { return data_.types[std::size_t(id)]; }
  // Found in a text before anything else: Control, Unknown and UserDefined.
  [[nodiscard]] bool stands_alone(std::int32_t id) const;
  // Part of no text unless asked for: Control and Unknown.
  [[nodiscard]] bool is_control(std::int32_t id) const;
  // What ordinary text may become: neither control, unknown nor byte tokens.
  [[nodiscard]] bool is_ordinary(std::int32_t id) const;

  // Entry with exactly this text, the lowest id of several; -1 when there is none.
  [[nodiscard]] std::int32_t find(std::string_view piece) const noexcept { return ids_.find(piece); }
  // The same among the ordinary ones.
  [[nodiscard]] std::int32_t find_ordinary(std::string_view piece) const;

  // The token of a byte with byte fallback; -1: none.
  [[nodiscard]] std::int32_t byte_id(char byte) const noexcept {
    return byte_ids_[static_cast<unsigned char>(byte)];
  }
  // Whether all bytes of `text` have such tokens.
  [[nodiscard]] bool has_bytes(std::string_view text) const noexcept;

  [[nodiscard]] bool ends_generation(std::int32_t id) const noexcept;

 private:
  void check_ids() const;
  void find_byte_ids();

  TokenizerData data_;
  PieceTable ids_;  // of data_.tokens
  std::array<std::int32_t, 256> byte_ids_{};
  std::vector<bool> ends_generation_;
};

}  // namespace thinkey
