// Byte-pair encoding (Sennrich et al. 2016; byte-level: Radford et al. 2019): in each word the symbols,
// bytes or characters, are merged in the order the merges were learnt.
#include <array>
#include <string>
#include <utility>

#include "base/fail.h"
#include "formats/printable.h"
#include "formats/tokenizer_tables.h"
#include "tokenizer/byte_alphabet.h"
#include "tokenizer/utf8.h"
#include "tokenizer/word_model.h"

namespace thinkey {
namespace {

MergeTable read_merges(const Vocabulary& vocabulary) {
  const TokenizerData& data = vocabulary.data();
  MergeTable table;
  table.reserve(data.merges.size());
  for (std::size_t rank = 0; rank < data.merges.size(); ++rank) {
    const auto& [left, right] = data.merges[rank];
    const std::int32_t left_id = vocabulary.find(left);
    const std::int32_t right_id = vocabulary.find(right);
    const std::int32_t merged_id = vocabulary.find(merged_piece(left, right, data.subword_prefix));
    if (left_id < 0 || right_id < 0 || merged_id < 0) {
      fail_data(R"(tokenizer: merge {} ("{}" "{}") names a piece that is not in the vocabulary)", rank,
                printable(left), printable(right));
    }
    table.insert(left_id, right_id, {static_cast<std::int32_t>(rank), merged_id});
  }
  return table;
}

class BytePairModel final : public WordModel {
 public:
  BytePairModel(const Vocabulary& vocabulary, bool bytes)
      : vocabulary_(vocabulary), merges_(read_merges(vocabulary)), bytes_(bytes) {
    if (!bytes) return;
    for (std::size_t byte = 0; byte < byte_ids_.size(); ++byte) {
      byte_ids_[byte] = vocabulary.find_ordinary(byte_to_alphabet(static_cast<unsigned char>(byte)));
    }
    if (vocabulary.data().ignore_merges) find_whole_words();
  }

  void encode(std::string_view word, MergeScratch& scratch, std::vector<std::int32_t>& ids) const override {
    if (vocabulary_.data().ignore_merges) {
      const std::int32_t id = bytes_ ? whole_words_.find(word) : vocabulary_.find_ordinary(word);
      if (id >= 0) return ids.push_back(id);
    }
    scratch.symbols.clear();
    if (bytes_) {
      split_bytes(word, scratch.symbols);
    } else {
      split_characters(word, scratch.symbols);
    }
    merge_symbols(scratch, [this](const Symbol& left, const Symbol& right) -> std::optional<PairMerge> {
      const MergeTable::Merge merge = merges_.find(left.id, right.id);
      if (merge.rank < 0) return std::nullopt;
      return PairMerge{static_cast<double>(merge.rank), merge.id};
    });
    for (const Symbol& symbol : scratch.symbols) {
      if (symbol.bytes > 0) ids.push_back(symbol.id);
    }
  }

 private:
  void find_whole_words() {
    pieces_.reserve(vocabulary_.data().tokens.size());
    whole_words_.reserve(vocabulary_.data().tokens.size());
    for (std::int32_t id = 0; id < vocabulary_.size(); ++id) {
      if (!vocabulary_.is_ordinary(id)) continue;
      pieces_.push_back(alphabet_to_bytes(vocabulary_.text(id)));
      whole_words_.insert(pieces_.back(), id);
    }
  }

  void split_bytes(std::string_view word, std::vector<Symbol>& symbols) const {
    for (std::size_t i = 0; i < word.size(); ++i) {
      add(i, 1, byte_ids_[static_cast<unsigned char>(word[i])], symbols);
    }
  }

  void split_characters(std::string_view word, std::vector<Symbol>& symbols) const {
    const TokenizerData& data = vocabulary_.data();
    const bool affixes = !data.subword_prefix.empty() || !data.word_suffix.empty();
    std::string piece;
    for (std::size_t start = 0; start < word.size();) {
      const std::size_t bytes = next_utf8(word.substr(start)).bytes;
      std::string_view text = word.substr(start, bytes);
      if (affixes) {
        piece = start > 0 ? data.subword_prefix : "";
        piece += text;
        if (start + bytes == word.size()) piece += data.word_suffix;
        text = piece;
      }
      const std::int32_t id = vocabulary_.find_ordinary(text);
      if (id < 0 && vocabulary_.has_bytes(word.substr(start, bytes))) {
        for (std::size_t i = start; i < start + bytes; ++i) {
          symbols.push_back({.start = i, .bytes = 1, .id = vocabulary_.byte_id(word[i])});
        }
      } else {
        add(start, bytes, id, symbols);
      }
      start += bytes;
    }
  }

  // A symbol, or what stands for one without a piece.
  void add(std::size_t start, std::size_t bytes, std::int32_t id, std::vector<Symbol>& symbols) const {
    if (id < 0) {
      id = vocabulary_.data().unknown;
      if (id < 0) return;
      if (vocabulary_.data().fuse_unknown && !symbols.empty() && symbols.back().id == id) {
        symbols.back().bytes += bytes;
        return;
      }
    }
    symbols.push_back({.start = start, .bytes = bytes, .id = id});
  }

  const Vocabulary& vocabulary_;
  MergeTable merges_;
  bool bytes_;
  std::array<std::int32_t, 256> byte_ids_{};  // -1 where the vocabulary lacks the byte
  std::vector<std::string> pieces_;           // as bytes, for whole_words_
  PieceTable whole_words_;
};

}  // namespace

std::unique_ptr<const WordModel> make_byte_pair_model(const Vocabulary& vocabulary, bool bytes) {
  return std::make_unique<const BytePairModel>(vocabulary, bytes);
}

std::unique_ptr<const WordModel> WordModel::create(const Vocabulary& vocabulary, bool bytes) {
  switch (vocabulary.data().model) {
    case TokenizerModel::BytePairs:
      return make_byte_pair_model(vocabulary, bytes);
    case TokenizerModel::ScoredPairs:
      return make_scored_pair_model(vocabulary);
    case TokenizerModel::Unigram:
      return make_unigram_model(vocabulary);
  }
  fail_data("tokenizer: unknown model");
}

}  // namespace thinkey
