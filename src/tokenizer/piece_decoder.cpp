#include "tokenizer/piece_decoder.h"

#include "base/fail.h"
#include "formats/tokenizer_tables.h"
#include "tokenizer/byte_alphabet.h"
#include "tokenizer/normalizer.h"

namespace thinkey {
namespace {

using Kind = DecoderStep::Kind;

std::string stripped(std::string piece, const DecoderStep& step) {
  if (step.content.empty()) return piece;
  for (std::size_t i = 0; i < step.start && piece.starts_with(step.content); ++i) {
    piece.erase(0, step.content.size());
  }
  for (std::size_t i = 0; i < step.stop && piece.ends_with(step.content); ++i) {
    piece.erase(piece.size() - step.content.size());
  }
  return piece;
}

}  // namespace

PieceDecoder::PieceDecoder(const Vocabulary& vocabulary) : vocabulary_(vocabulary) {
  bool fused = false;
  for (const DecoderStep& step : vocabulary.data().decoders) {
    if (fused && step.kind == Kind::Strip && step.stop == 0 && strip_count_ == 0) {
      strip_text_ = step.content;
      strip_count_ = step.content.empty() ? 0 : step.start;
    } else if (fused && step.kind != Kind::Fuse) {
      fail_data(
          "tokenizer: its decoder changes the text after all pieces are joined, which is not supported");
    } else if (step.kind != Kind::Fuse) {
      steps_.push_back(step);
      if (step.kind == Kind::ReplacePattern) expressions_.emplace_back(step.pattern);
      if (step.kind == Kind::WordSuffix) word_suffix_ = step.pattern;
    }
    fused = fused || step.kind == Kind::Fuse || step.kind == Kind::ByteLevel;
  }
  const Normalizer normalizer(vocabulary.data().normalizers);
  for (const AddedToken& token : vocabulary.data().added) {
    if (token.normalized) normalized_.emplace(token.id, normalizer.apply(vocabulary.text(token.id)));
  }
  offsets_.reserve(vocabulary.data().tokens.size() + 1);
  offsets_.push_back(0);
  for (std::int32_t id = 0; id < vocabulary.size(); ++id) {
    bytes_ += decode(id, false);
    offsets_.push_back(bytes_.size());
  }
}

std::string PieceDecoder::decode(std::int32_t id, bool first) const {
  const bool alone = vocabulary_.stands_alone(id);
  const auto normalized = normalized_.find(id);
  std::string piece = normalized == normalized_.end() ? vocabulary_.text(id) : normalized->second;
  auto expression = expressions_.begin();
  for (const DecoderStep& step : steps_) {
    switch (step.kind) {
      case Kind::ByteLevel:
        if (!alone) piece = alphabet_to_bytes(piece);
        break;
      case Kind::ByteFallback:
        if (const auto byte = byte_piece(piece); byte && !alone) piece.assign(1, static_cast<char>(*byte));
        break;
      case Kind::ReplaceText:
        piece = replace_text(piece, step.pattern, step.content);
        break;
      case Kind::ReplacePattern:
        piece = replace_matches(piece, *expression++, step.content);
        break;
      case Kind::Strip:
        piece = stripped(std::move(piece), step);
        break;
      case Kind::SpaceMark:
        piece = replace_text(piece, step.pattern, first && step.drop_first ? "" : " ");
        break;
      case Kind::WordSuffix:
        piece = replace_text(piece, step.pattern, " ");
        break;
      case Kind::Fuse:
        break;
    }
  }
  return piece;
}

std::string PieceDecoder::first_bytes(std::int32_t id) const { return decode(id, true); }

bool PieceDecoder::ends_word(std::int32_t id) const {
  return !word_suffix_.empty() && vocabulary_.text(id).ends_with(word_suffix_) && bytes(id).ends_with(' ');
}

}  // namespace thinkey
