// SentencePiece's BPE (Kudo and Richardson, arXiv 1808.06226): characters are merged greedily, the pair whose
// union has the best score first; a character without a piece is written as its bytes, <0xNN>, or unknown.
#include <algorithm>
#include <string>
#include <unordered_map>

#include "base/fail.h"
#include "tokenizer/utf8.h"
#include "tokenizer/word_model.h"

namespace thinkey {
namespace {

class ScoredPairModel final : public WordModel {
 public:
  explicit ScoredPairModel(const Vocabulary& vocabulary) : vocabulary_(vocabulary) {
    bool all_bytes = true;
    for (int byte = 0; byte < 256; ++byte)
      all_bytes = all_bytes && vocabulary.byte_id(static_cast<char>(byte)) >= 0;
    if (!all_bytes && vocabulary.data().unknown < 0) {
      fail_data("tokenizer: the vocabulary has neither all 256 byte tokens nor an unknown token");
    }
    for (std::int32_t id = 0; id < vocabulary.size(); ++id) {
      if (vocabulary.type(id) != TokenType::Byte) longest_ = std::max(longest_, vocabulary.text(id).size());
      has_unused_ = has_unused_ || vocabulary.type(id) == TokenType::Unused;
    }
  }

  void encode(std::string_view word, MergeScratch& scratch, std::vector<std::int32_t>& ids) const override {
    scratch.symbols.clear();
    for (std::size_t start = 0; start < word.size();) {
      const std::size_t bytes = next_utf8(word.substr(start)).bytes;
      scratch.symbols.push_back({.start = start, .bytes = bytes});
      start += bytes;
    }
    Splits splits;
    merge_symbols(scratch, [&](const Symbol& left, const Symbol& right) -> std::optional<PairMerge> {
      const std::size_t bytes = left.bytes + right.bytes;
      if (bytes > longest_) return std::nullopt;
      const std::string_view piece = word.substr(left.start, bytes);
      const std::int32_t id = vocabulary_.find_ordinary(piece);
      if (id < 0) return std::nullopt;
      if (vocabulary_.type(id) == TokenType::Unused) splits.insert_or_assign(piece, left.bytes);
      return PairMerge{-vocabulary_.data().scores[std::size_t(id)], id};
    });
    const std::size_t first = ids.size();
    for (const Symbol& symbol : scratch.symbols) {
      if (symbol.bytes > 0) append_piece(word.substr(symbol.start, symbol.bytes), splits, first, ids);
    }
  }

 private:
  // Which pieces had to be split again, and where: the text of an unused piece to its left half's length.
  using Splits = std::unordered_map<std::string_view, std::size_t>;

  // An unused piece may be formed on the way to a longer one, but is not written: it falls apart into
  // the halves it was merged from.
  void append_piece(std::string_view piece, const Splits& splits, std::size_t first,
                    std::vector<std::int32_t>& ids) const {
    if (!has_unused_) return append_part(piece, vocabulary_.find_ordinary(piece), first, ids);
    std::vector<std::string_view> todo{piece};
    while (!todo.empty()) {
      const std::string_view part = todo.back();
      todo.pop_back();
      const std::int32_t id = vocabulary_.find_ordinary(part);
      const auto split = splits.find(part);
      if (id >= 0 && vocabulary_.type(id) == TokenType::Unused && split != splits.end()) {
        todo.push_back(part.substr(split->second));
        todo.push_back(part.substr(0, split->second));
      } else {
        append_part(part, id, first, ids);
      }
    }
  }

  void append_part(std::string_view part, std::int32_t id, std::size_t first,
                   std::vector<std::int32_t>& ids) const {
    const std::int32_t unknown = vocabulary_.data().unknown;
    if (id >= 0) return ids.push_back(id);
    if (vocabulary_.has_bytes(part)) {
      for (const char byte : part) ids.push_back(vocabulary_.byte_id(byte));
      return;
    }
    // A run of characters without pieces is one unknown token.
    if (ids.size() == first || ids.back() != unknown) ids.push_back(unknown);
  }

  const Vocabulary& vocabulary_;
  std::size_t longest_ = 0;  // bytes
  bool has_unused_ = false;
};

}  // namespace

std::unique_ptr<const WordModel> make_scored_pair_model(const Vocabulary& vocabulary) {
  return std::make_unique<const ScoredPairModel>(vocabulary);
}

}  // namespace thinkey
