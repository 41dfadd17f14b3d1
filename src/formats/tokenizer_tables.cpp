#include "formats/tokenizer_tables.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "base/fail.h"

namespace thinkey {
namespace {

// Pieces that end an answer in the models we read, whatever ids the file names.
constexpr std::array<std::string_view, 14> kEndPieces{"<|eot_id|>",
                                                      "<|im_end|>",
                                                      "<|end_of_text|>",
                                                      "<|endoftext|>",
                                                      "<|eom_id|>",
                                                      "<|end|>",
                                                      "<|return|>",
                                                      "<|call|>",
                                                      "<turn|>",
                                                      "<EOT>",
                                                      "[EOT]",
                                                      "<end_of_turn>",
                                                      "<\uFF5Cend\u2581of\u2581sentence\uFF5C>",
                                                      "<end_of_utterance>"};

// In gpt-oss's format <|end|> closes a message within an answer.
bool ends_within_answer(const TokenizerData& data) {
  const auto has = [&data](std::string_view piece) {
    return std::find(data.tokens.begin(), data.tokens.end(), piece) != data.tokens.end();
  };
  return has("<|end|>") && has("<|return|>") && has("<|call|>");
}

}  // namespace

void finish_tokenizer(TokenizerData& data, const std::filesystem::path& path) {
  const std::size_t count = data.tokens.size();
  if (count > kMaxVocabulary) {
    fail_data("{}: tokenizer has {} tokens, more than {}", path.string(), count, kMaxVocabulary);
  }
  if (data.types.size() != count) {
    fail_data("{}: tokenizer has {} tokens but {} token types", path.string(), count, data.types.size());
  }
  if (data.model != TokenizerModel::BytePairs && data.scores.size() != count) {
    fail_data("{}: tokenizer has {} tokens but {} scores", path.string(), count, data.scores.size());
  }
  if (std::any_of(data.scores.begin(), data.scores.end(),
                  [](double score) { return !std::isfinite(score); })) {
    fail_data("{}: tokenizer has a score that is not a finite number", path.string());
  }
  const bool within = ends_within_answer(data);
  for (std::size_t i = 0; i < count; ++i) {
    if (within && data.tokens[i] == "<|end|>") continue;
    if (std::find(kEndPieces.begin(), kEndPieces.end(), data.tokens[i]) == kEndPieces.end()) continue;
    data.end_of_generation.push_back(static_cast<std::int32_t>(i));
    if (data.types[i] == TokenType::Normal) data.types[i] = TokenType::Control;
  }
  if (data.eos >= 0) data.end_of_generation.push_back(data.eos);
  auto& ends = data.end_of_generation;
  std::sort(ends.begin(), ends.end());
  ends.erase(std::unique(ends.begin(), ends.end()), ends.end());
  if (count == 0) return;  // no tokenizer: ids can be checked against the model's vocabulary only

  const auto check = [&](std::int32_t id, std::string_view role) {
    if (id < -1 || id >= static_cast<std::int64_t>(count)) {
      fail_data("{}: {} id {} is not that of one of the tokenizer's {} tokens", path.string(), role, id,
                count);
    }
  };
  check(data.bos, "BOS");
  check(data.eos, "EOS");
  check(data.unknown, "unknown-token");
  for (const std::int32_t id : ends) check(id, "end-of-generation");
}

std::optional<std::uint8_t> byte_piece(std::string_view piece) noexcept {
  if (piece.size() != 6 || !piece.starts_with("<0x") || piece.back() != '>') return std::nullopt;
  std::uint8_t value = 0;
  const char* const begin = piece.data() + 3;
  const auto [end, error] = std::from_chars(begin, begin + 2, value, 16);
  if (error != std::errc() || end != begin + 2) return std::nullopt;
  return value;
}

std::int32_t find_piece(const TokenizerData& data, const std::string& piece) {
  const auto found = std::find(data.tokens.begin(), data.tokens.end(), piece);
  return found == data.tokens.end() ? -1 : static_cast<std::int32_t>(found - data.tokens.begin());
}

std::string merged_piece(std::string_view left, std::string_view right, std::string_view subword_prefix) {
  if (right.starts_with(subword_prefix)) right.remove_prefix(subword_prefix.size());
  return std::string(left).append(right);
}

}  // namespace thinkey
