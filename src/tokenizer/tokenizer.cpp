#include "tokenizer/tokenizer.h"

#include <utility>

#include "base/fail.h"
#include "tokenizer/byte_pair_tokenizer.h"
#include "tokenizer/sentencepiece_tokenizer.h"
#include "tokenizer/utf8.h"
#include "tokenizer/vocabulary.h"

namespace thinkey {

Tokenizer::Tokenizer(std::unique_ptr<const Vocabulary> vocabulary) : vocabulary_(std::move(vocabulary)) {}
Tokenizer::~Tokenizer() = default;

std::unique_ptr<Tokenizer> Tokenizer::create(const TokenizerData& data) {
  auto vocabulary = std::make_unique<const Vocabulary>(data);
  if (data.kind == TokenizerKind::SentencePiece) {
    return std::make_unique<SentencePieceTokenizer>(std::move(vocabulary));
  }
  return std::make_unique<BytePairTokenizer>(std::move(vocabulary));
}

std::vector<std::int32_t> Tokenizer::encode(std::string_view text, const EncodeOptions& options) const {
  if (const auto bad = find_invalid_utf8(text)) {
    fail_data("the text is not valid UTF-8 at byte {} (0x{:02X}); convert it to UTF-8 first", *bad,
              static_cast<unsigned char>(text[*bad]));
  }
  std::vector<std::int32_t> ids;
  const TokenizerData& tables = data();
  if (options.add_special && tables.add_bos) ids.push_back(tables.bos);

  const PieceTrie& alone = vocabulary_->standing_alone(options.parse_special);
  std::size_t at = 0;
  while (at < text.size()) {
    const auto match = alone.find(text, at);
    const std::size_t end = match ? match->start : text.size();
    if (end > at) encode_stretch(text.substr(at, end - at), ids);
    if (!match) break;
    ids.push_back(match->id);
    at = end + match->bytes;
  }

  if (options.add_special && tables.add_eos) ids.push_back(tables.eos);
  return ids;
}

std::string Tokenizer::piece(std::int32_t id, bool special) const {
  if (!vocabulary_->contains(id)) {
    fail_usage("there is no token {}: the vocabulary has {}", id, vocabulary_->size());
  }
  switch (vocabulary_->type(id)) {
    case TokenType::Control:
    case TokenType::Unknown:
      return special ? vocabulary_->plain_text(id) : std::string();
    case TokenType::UserDefined:
      return vocabulary_->plain_text(id);
    default:
      return piece_bytes(id);
  }
}

std::string Tokenizer::decode(std::span<const std::int32_t> ids, bool special) const {
  StreamDecoder decoder(*this, special);
  std::string text;
  for (const std::int32_t id : ids) text += decoder.push(id);
  return text + decoder.finish();
}

bool Tokenizer::stands_alone(std::int32_t id) const {
  if (!vocabulary_->contains(id)) return false;
  const TokenType type = vocabulary_->type(id);
  return type == TokenType::Control || type == TokenType::Unknown || type == TokenType::UserDefined;
}

std::int32_t Tokenizer::vocabulary() const noexcept { return vocabulary_->size(); }
std::int32_t Tokenizer::bos() const noexcept { return data().bos; }
bool Tokenizer::adds_bos() const noexcept { return data().add_bos; }
bool Tokenizer::ends_generation(std::int32_t id) const noexcept { return vocabulary_->ends_generation(id); }
std::optional<std::int32_t> Tokenizer::find(std::string_view piece) const { return vocabulary_->find(piece); }
const TokenizerData& Tokenizer::data() const noexcept { return vocabulary_->data(); }

}  // namespace thinkey
