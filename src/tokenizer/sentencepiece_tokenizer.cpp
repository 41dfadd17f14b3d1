#include "tokenizer/sentencepiece_tokenizer.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "base/fail.h"
#include "tokenizer/utf8.h"

namespace thinkey {

namespace {

// The value of "<0xNN>", -1 for anything else.
int byte_value(std::string_view piece) {
  if (piece.size() != 6 || !piece.starts_with("<0x") || !piece.ends_with('>')) return -1;
  int value = -1;
  const char* const end = piece.data() + 5;
  const auto [stop, error] = std::from_chars(piece.data() + 3, end, value, 16);
  return error == std::errc{} && stop == end ? value : -1;
}

std::vector<Symbol> split_characters(std::string_view text) {
  std::vector<Symbol> symbols;
  symbols.reserve(text.size());
  for (std::size_t start = 0; start < text.size();) {
    const std::size_t bytes = next_utf8(text.substr(start)).bytes;
    symbols.push_back({.start = start, .bytes = bytes});
    start += bytes;
  }
  return symbols;
}

}  // namespace

SentencePieceTokenizer::SentencePieceTokenizer(std::unique_ptr<const Vocabulary> vocabulary)
    : Tokenizer(std::move(vocabulary)) {
  const TokenizerData& tables = table().data();
  if (tables.scores.empty() && !tables.merges.empty()) {
    merges_.emplace(table());
  } else if (tables.scores.size() != tables.tokens.size()) {
    fail_data("tokenizer: {} scores for {} tokens", tables.scores.size(), tables.tokens.size());
  }

  byte_ids_.fill(-1);
  for (std::int32_t id = 0; id < table().size(); ++id) {
    const std::string& text = table().text(id);
    if (table().type(id) != TokenType::Byte) {
      longest_piece_ = std::max(longest_piece_, text.size());
      continue;
    }
    const int value = byte_value(text);
    if (value < 0) fail_data("tokenizer: byte token {} is \"{}\", not of the form <0xNN>", id, text);
    std::int32_t& slot = byte_ids_[static_cast<std::size_t>(value)];
    if (slot < 0) slot = id;
  }
  has_all_bytes_ = std::ranges::find(byte_ids_, -1) == byte_ids_.end();
  if (!has_all_bytes_ && tables.unknown < 0) {
    fail_data("tokenizer: the vocabulary has neither all 256 byte tokens nor an unknown token");
  }
}

void SentencePieceTokenizer::encode_stretch(std::string_view text, std::vector<std::int32_t>& ids) const {
  std::string marked;
  marked.reserve(text.size() + text.size() / 2 + kSpaceMark.size());
  if (table().data().add_space_prefix) marked += kSpaceMark;
  for (const char byte : text) {
    if (byte == ' ') {
      marked += kSpaceMark;
    } else {
      marked += byte;
    }
  }

  std::vector<Symbol> symbols = split_characters(marked);
  const std::string_view view = marked;
  Splits splits;
  if (merges_) {
    for (Symbol& symbol : symbols) {
      symbol.id = table().find_ordinary(view.substr(symbol.start, symbol.bytes)).value_or(-1);
    }
    merge_symbols(symbols, [this](const Symbol& left, const Symbol& right) {
      return merges_->find(left.id, right.id);
    });
  } else {
    merge_by_score(view, symbols, splits);
  }
  const std::size_t first = ids.size();
  std::vector<std::int32_t> piece_ids;
  for (const Symbol& symbol : symbols) {
    if (symbol.bytes == 0) continue;
    piece_ids.clear();
    append_piece(view.substr(symbol.start, symbol.bytes), splits, piece_ids);
    for (const std::int32_t id : piece_ids) {
      // A run of characters without pieces is one unknown token.
      const bool repeats = id == table().data().unknown && ids.size() > first && ids.back() == id;
      if (!repeats) ids.push_back(id);
    }
  }
}

void SentencePieceTokenizer::merge_by_score(std::string_view text, std::vector<Symbol>& symbols,
                                            Splits& splits) const {
  const TokenizerData& tables = table().data();
  merge_symbols(symbols, [&](const Symbol& left, const Symbol& right) -> std::optional<Merge> {
    const std::size_t bytes = left.bytes + right.bytes;
    if (bytes > longest_piece_) return std::nullopt;
    const std::string_view piece = text.substr(left.start, bytes);
    const auto id = table().find_ordinary(piece);
    if (!id) return std::nullopt;
    if (table().type(*id) == TokenType::Unused) splits.insert_or_assign(piece, left.bytes);
    return Merge{-static_cast<double>(tables.scores[std::size_t(*id)]), *id};
  });
}

// An unused piece may be formed on the way to a longer one, but is not written: it falls apart into
// the halves it was merged from.
void SentencePieceTokenizer::append_piece(std::string_view piece, const Splits& splits,
                                          std::vector<std::int32_t>& ids) const {
  std::vector<std::string_view> todo{piece};
  while (!todo.empty()) {
    const std::string_view part = todo.back();
    todo.pop_back();
    const auto id = table().find_ordinary(part);
    const auto split = splits.find(part);
    if (id && table().type(*id) == TokenType::Unused && split != splits.end()) {
      todo.push_back(part.substr(split->second));
      todo.push_back(part.substr(0, split->second));
    } else if (id) {
      ids.push_back(*id);
    } else {
      append_without_piece(part, ids);
    }
  }
}

void SentencePieceTokenizer::append_without_piece(std::string_view character,
                                                  std::vector<std::int32_t>& ids) const {
  const auto id_of = [this](char byte) { return byte_ids_[static_cast<unsigned char>(byte)]; };
  const bool has_bytes =
      has_all_bytes_ || std::ranges::all_of(character, [&](char byte) { return id_of(byte) >= 0; });
  if (!has_bytes) {
    ids.push_back(table().data().unknown);
    return;
  }
  for (const char byte : character) ids.push_back(id_of(byte));
}

std::string SentencePieceTokenizer::piece_bytes(std::int32_t id) const {
  const std::string& text = table().text(id);
  if (table().type(id) == TokenType::Byte) return {static_cast<char>(byte_value(text))};
  return space_marks_to_spaces(text);
}

}  // namespace thinkey
