#include "tokenizer/vocabulary.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "base/fail.h"

namespace thinkey {

namespace {

void check_tables(const TokenizerData& data) {
  const std::size_t count = data.tokens.size();
  if (count == 0) fail_data("tokenizer: the vocabulary is empty");
  if (count > std::size_t{std::numeric_limits<std::int32_t>::max()}) {
    fail_data("tokenizer: {} tokens are more than a 32-bit id can name", count);
  }
  if (data.types.size() != count) {
    fail_data("tokenizer: {} token types for {} tokens", data.types.size(), count);
  }
  for (std::size_t id = 0; id < count; ++id) {
    if (data.types[id] < TokenType::Normal || data.types[id] > TokenType::Byte) {
      fail_data("tokenizer: token {} has the unknown type {}", id, static_cast<int>(data.types[id]));
    }
  }
  for (std::size_t i = 0; i < data.scores.size(); ++i) {
    if (std::isnan(data.scores[i])) fail_data("tokenizer: the score of token {} is not a number", i);
  }
}

}  // namespace

Vocabulary::Vocabulary(TokenizerData data) : data_(std::move(data)) {
  check_tables(data_);
  check_ids();
  ids_.reserve(data_.tokens.size());
  for (std::int32_t id = 0; id < size(); ++id) {
    ids_.try_emplace(text(id), id);
    if (text(id).empty()) continue;
    const bool user_defined = type(id) == TokenType::UserDefined;
    if (user_defined) user_defined_.insert(plain_text(id), id);
    if (user_defined || type(id) == TokenType::Control || type(id) == TokenType::Unknown) {
      special_.insert(plain_text(id), id);
    }
  }
  ends_generation_.resize(data_.tokens.size());
  if (data_.eos >= 0) ends_generation_[std::size_t(data_.eos)] = true;
  for (const std::int32_t id : data_.end_of_generation) ends_generation_[std::size_t(id)] = true;
}

void Vocabulary::check_ids() const {
  const auto check = [this](const char* name, std::int32_t id) {
    if (id < -1 || id >= size()) {
      fail_data("tokenizer: the {} token's id {} is outside the vocabulary of {}", name, id, size());
    }
  };
  check("BOS", data_.bos);
  check("EOS", data_.eos);
  check("unknown", data_.unknown);
  for (const std::int32_t id : data_.end_of_generation) {
    check("end-of-generation", id);
    if (id < 0) fail_data("tokenizer: an end-of-generation token has the id {}", id);
  }
  if (data_.add_bos && data_.bos < 0) fail_data("tokenizer: BOS is to be added but no token is named BOS");
  if (data_.add_eos && data_.eos < 0) fail_data("tokenizer: EOS is to be added but no token is named EOS");
}

std::optional<std::int32_t> Vocabulary::find(std::string_view piece) const {
  const auto found = ids_.find(piece);
  if (found == ids_.end()) return std::nullopt;
  return found->second;
}

std::optional<std::int32_t> Vocabulary::find_ordinary(std::string_view piece) const {
  const auto id = find(piece);
  if (!id) return std::nullopt;
  const TokenType kind = type(*id);
  const bool ordinary = kind != TokenType::Control && kind != TokenType::Unknown && kind != TokenType::Byte;
  return ordinary ? id : std::nullopt;
}

std::string Vocabulary::plain_text(std::int32_t id) const {
  const bool marked = data_.kind == TokenizerKind::SentencePiece && type(id) == TokenType::UserDefined;
  return marked ? space_marks_to_spaces(text(id)) : text(id);
}

bool Vocabulary::ends_generation(std::int32_t id) const noexcept {
  return contains(id) && ends_generation_[std::size_t(id)];
}

std::string space_marks_to_spaces(std::string_view text) {
  std::string plain;
  plain.reserve(text.size());
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t mark = std::min(text.find(kSpaceMark, at), text.size());
    plain += text.substr(at, mark - at);
    if (mark < text.size()) plain += ' ';
    at = mark + kSpaceMark.size();
  }
  return plain;
}

}  // namespace thinkey
