#include "tokenizer/added_tokens.h"

#include <algorithm>
#include <utility>

#include "tokenizer/characters.h"
#include "tokenizer/normalizer.h"

namespace thinkey {
namespace {

// SentencePiece writes spaces in user-defined pieces as it does in all others.
bool marks_spaces(const TokenizerData& data) {
  return data.model == TokenizerModel::ScoredPairs &&
         std::any_of(data.normalizers.begin(), data.normalizers.end(),
                     [](const NormalizerStep& step) { return step.pattern == " "; });
}

}  // namespace

AddedTokens::AddedTokens(const Vocabulary& vocabulary) {
  const TokenizerData& data = vocabulary.data();
  std::vector<const AddedToken*> described(data.tokens.size(), nullptr);
  for (const AddedToken& token : data.added) described[std::size_t(token.id)] = &token;
  const Normalizer normalizer(data.normalizers);
  const bool marked = marks_spaces(data);

  slots_.assign(data.tokens.size(), -1);
  texts_.reserve(data.tokens.size());
  std::vector<std::pair<std::string_view, std::int32_t>> raw;
  std::vector<std::pair<std::string_view, std::int32_t>> normalized;
  for (std::int32_t id = 0; id < vocabulary.size(); ++id) {
    if (!vocabulary.stands_alone(id) || vocabulary.text(id).empty()) continue;
    const AddedToken* token = described[std::size_t(id)];
    const bool in_normalized = token != nullptr && token->normalized && !normalizer.empty();
    slots_[std::size_t(id)] = static_cast<std::int32_t>(flags_.size());
    flags_.push_back({.control = vocabulary.is_control(id)});
    if (token != nullptr) {
      flags_.back() = {vocabulary.is_control(id), token->single_word, token->lstrip, token->rstrip};
    }
    std::string text = vocabulary.text(id);
    if (in_normalized) text = normalizer.apply(text);
    if (marked) text = replace_text(text, "\xE2\x96\x81", " ");
    if (text.empty()) continue;
    (in_normalized ? normalized : raw).emplace_back(texts_.emplace_back(std::move(text)), id);
  }
  raw_ = PieceTree(std::move(raw));
  normalized_ = PieceTree(std::move(normalized));
}

std::optional<AddedTokens::Match> AddedTokens::find(std::string_view text, std::size_t from, std::size_t rest,
                                                    bool normalized, bool parse_special) const {
  const PieceTree& tree = normalized ? normalized_ : raw_;
  if (tree.empty()) return std::nullopt;
  for (std::size_t at = from; at < text.size();) {
    Match match{at, at, -1, at};
    if (tree.may_begin(text[at])) {
      tree.for_each_prefix(text.substr(at), [&](std::size_t bytes, std::int32_t id) {
        match.end = at + bytes;
        match.id = id;
      });
    }
    if (match.id < 0) {
      ++at;
    } else if ((flags(match.id).control && !parse_special) || !stands_free(text, match)) {
      at = match.end;
    } else {
      return with_spaces(text, rest, match);
    }
  }
  return std::nullopt;
}

bool AddedTokens::stands_free(std::string_view text, const Match& match) const {
  if (!flags(match.id).single_word) return true;
  const std::string_view before = text.substr(0, match.start);
  const std::string_view behind = text.substr(match.end);
  return (before.empty() || !is_word_character(last_character(before))) &&
         (behind.empty() || !is_word_character(first_character(behind)));
}

AddedTokens::Match AddedTokens::with_spaces(std::string_view text, std::size_t rest, Match match) const {
  const Flags& how = flags(match.id);
  match.search_from = match.end;
  if (how.lstrip && match.start > rest) match.start -= trailing_space(text.substr(rest, match.start - rest));
  if (how.rstrip) match.end += leading_space(text.substr(match.end));
  return match;
}

}  // namespace thinkey
