#include "tokenizer/tokenizer.h"
#include "tokenizer/utf8.h"

namespace thinkey {

StreamDecoder::StreamDecoder(const Tokenizer& tokenizer, bool special, bool at_start)
    : tokenizer_(&tokenizer), special_(special), drop_space_(at_start) {}

std::string StreamDecoder::push(std::int32_t id) {
  std::string bytes = tokenizer_->piece(id, special_);
  const TokenizerData& data = tokenizer_->data();
  const bool prefixed = data.kind == TokenizerKind::SentencePiece && data.add_space_prefix;
  if (tokenizer_->stands_alone(id)) {
    drop_space_ = true;
  } else {
    if (prefixed && drop_space_ && bytes.starts_with(' ')) bytes.erase(0, 1);
    drop_space_ = false;
  }
  pending_ += bytes;
  std::string text;
  drain_utf8(pending_, text);
  return text;
}

std::string StreamDecoder::finish() {
  const bool incomplete = !pending_.empty();
  pending_.clear();
  return incomplete ? std::string(kReplacementCharacter) : std::string();
}

}  // namespace thinkey
