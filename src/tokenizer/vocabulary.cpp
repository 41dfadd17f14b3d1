#include "tokenizer/vocabulary.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "base/fail.h"
#include "formats/tokenizer_tables.h"

namespace thinkey {

namespace {

// A search may look this far ahead from every byte of a text.
constexpr std::size_t kMostSearchedBytes = 1024;
constexpr std::size_t kMostPieceBytes = std::size_t{1} << 16U;

std::size_t most_bytes(const TokenizerData& data, std::size_t id) {
  const TokenType type = data.types[id];
  const bool searched = data.model != TokenizerModel::BytePairs || type == TokenType::Control ||
                        type == TokenType::Unknown || type == TokenType::UserDefined;
  return searched ? kMostSearchedBytes : kMostPieceBytes;
}

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
    if (data.tokens[id].size() > most_bytes(data, id)) {
      fail_data("tokenizer: token {} has {} bytes, more than {}", id, data.tokens[id].size(),
                most_bytes(data, id));
    }
  }
  if (data.model != TokenizerModel::BytePairs && data.scores.size() != count) {
    fail_data("tokenizer: {} scores for {} tokens", data.scores.size(), count);
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
  for (std::int32_t id = 0; id < size(); ++id) ids_.insert(text(id), id);
  find_byte_ids();
  ends_generation_.resize(data_.tokens.size());
  if (data_.eos >= 0) ends_generation_[std::size_t(data_.eos)] = true;
  for (const std::int32_t id : data_.end_of_generation) ends_generation_[std::size_t(id)] = true;
}

void Vocabulary::find_byte_ids() {
  byte_ids_.fill(-1);
  for (std::int32_t id = 0; id < size(); ++id) {
    if (type(id) != TokenType::Byte) continue;
    const auto value = byte_piece(text(id));
    if (!value) fail_data("tokenizer: byte token {} is \"{}\", not of the form <0xNN>", id, text(id));
    if (byte_ids_[*value] < 0) byte_ids_[*value] = id;
  }
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
  for (const AddedToken& token : data_.added) {
    check("added", token.id);
    if (token.id < 0) fail_data("tokenizer: an added token has the id {}", token.id);
  }
  if (data_.add_bos && data_.bos < 0) fail_data("tokenizer: BOS is to be added but no token is named BOS");
  if (data_.add_eos && data_.eos < 0) fail_data("tokenizer: EOS is to be added but no token is named EOS");
}

bool Vocabulary::stands_alone(std::int32_t id) const {
  return is_control(id) || type(id) == TokenType::UserDefined;
}

bool Vocabulary::is_control(std::int32_t id) const {
  return type(id) == TokenType::Control || type(id) == TokenType::Unknown;
}

bool Vocabulary::is_ordinary(std::int32_t id) const { return !is_control(id) && type(id) != TokenType::Byte; }

std::int32_t Vocabulary::find_ordinary(std::string_view piece) const {
  const std::int32_t id = find(piece);
  return id >= 0 && is_ordinary(id) ? id : -1;
}

bool Vocabulary::has_bytes(std::string_view text) const noexcept {
  return data_.byte_fallback && std::ranges::all_of(text, [this](char byte) { return byte_id(byte) >= 0; });
}

bool Vocabulary::ends_generation(std::int32_t id) const noexcept {
  return contains(id) && ends_generation_[std::size_t(id)];
}

}  // namespace thinkey
