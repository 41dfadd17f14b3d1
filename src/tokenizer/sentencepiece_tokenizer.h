// SentencePiece's BPE (Kudo and Richardson, arXiv 1808.06226): characters are merged greedily, the
// pair whose union has the best score first; spaces are U+2581; a character without a piece is
// written as its bytes, <0xNN>, or as the unknown token.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "tokenizer/merge_symbols.h"
#include "tokenizer/merge_table.h"
#include "tokenizer/tokenizer.h"
#include "tokenizer/vocabulary.h"

namespace thinkey {

class SentencePieceTokenizer final : public Tokenizer {
 public:
  // Throws Error(Data) when there are neither scores nor merges, when a byte token is not written
  // <0xNN>, and when some byte has no token and there is no unknown token either.
  explicit SentencePieceTokenizer(std::unique_ptr<const Vocabulary> vocabulary);

 private:
  void encode_stretch(std::string_view text, std::vector<std::int32_t>& ids) const override;
  [[nodiscard]] std::string piece_bytes(std::int32_t id) const override;

  // Which pieces had to be split again, and where: the text of an unused piece to its left half's length.
  using Splits = std::unordered_map<std::string_view, std::size_t>;
  void merge_by_score(std::string_view text, std::vector<Symbol>& symbols, Splits& splits) const;
  void append_piece(std::string_view piece, const Splits& splits, std::vector<std::int32_t>& ids) const;
  void append_without_piece(std::string_view character, std::vector<std::int32_t>& ids) const;

  std::array<std::int32_t, 256> byte_ids_{};  // -1: none
  bool has_all_bytes_ = false;
  std::size_t longest_piece_ = 0;     // bytes
  std::optional<MergeTable> merges_;  // from a tokenizer.json; otherwise the scores decide
};

}  // namespace thinkey
