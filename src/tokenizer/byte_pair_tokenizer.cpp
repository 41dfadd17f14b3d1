#include "tokenizer/byte_pair_tokenizer.h"

#include <utility>

#include "tokenizer/byte_alphabet.h"

namespace thinkey {

BytePairTokenizer::BytePairTokenizer(std::unique_ptr<const Vocabulary> vocabulary)
    : Tokenizer(std::move(vocabulary)), merges_(table()), pre_tokenizer_(table().data().pre) {
  for (std::size_t byte = 0; byte < byte_ids_.size(); ++byte) {
    const std::string character = byte_to_alphabet(static_cast<unsigned char>(byte));
    byte_ids_[byte] = table().find_ordinary(character).value_or(table().data().unknown);
  }
}

void BytePairTokenizer::encode_stretch(std::string_view text, std::vector<std::int32_t>& ids) const {
  const bool take_whole = table().data().ignore_merges;
  std::vector<Symbol> symbols;
  for (const std::string_view part : pre_tokenizer_.split(text)) {
    if (take_whole) {
      if (const auto id = table().find_ordinary(bytes_to_alphabet(part))) {
        ids.push_back(*id);
        continue;
      }
    }
    symbols.clear();
    for (std::size_t i = 0; i < part.size(); ++i) {
      const std::int32_t id = byte_ids_[static_cast<unsigned char>(part[i])];
      if (id >= 0) symbols.push_back({.start = i, .bytes = 1, .id = id});
    }
    merge_symbols(
        symbols, [this](const Symbol& left, const Symbol& right) { return merges_.find(left.id, right.id); });
    for (const Symbol& symbol : symbols) {
      if (symbol.bytes > 0) ids.push_back(symbol.id);
    }
  }
}

std::string BytePairTokenizer::piece_bytes(std::int32_t id) const {
  return alphabet_to_bytes(table().text(id));
}

}  // namespace thinkey
