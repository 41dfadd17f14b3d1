#include <utility>

#include "base/fail.h"
#include "tokenizer/tokenizer.h"
#include "tokenizer/tokenizer_parts.h"
#include "tokenizer/utf8.h"

namespace thinkey {

StreamDecoder::StreamDecoder(const Tokenizer& tokenizer, bool special, bool at_start)
    : tokenizer_(&tokenizer),
      special_(special),
      first_(at_start),
      strip_left_(at_start ? tokenizer.parts_->decoder.strip_count() : 0) {}

void StreamDecoder::add(std::int32_t id) {
  const Tokenizer::Parts& parts = *tokenizer_->parts_;
  const PieceDecoder& decoder = parts.decoder;
  const bool alone = parts.vocabulary.stands_alone(id);
  const bool hidden = parts.vocabulary.is_control(id) && !special_;
  if (!hidden) {
    if (std::exchange(holds_space_, false)) pending_ += ' ';
    if (decoder.joins_with_spaces() && !first_) pending_ += ' ';
    const std::string start = first_ ? decoder.first_bytes(id) : std::string();
    std::string_view bytes = first_ ? std::string_view(start) : decoder.bytes(id);
    if (decoder.ends_word(id)) {
      bytes.remove_suffix(1);
      holds_space_ = true;
    }
    const std::string& strip = decoder.strip_text();
    const bool restarts = alone && parts.vocabulary.data().restarts_after_added;
    while (strip_left_ > 0 && !restarts && bytes.starts_with(strip)) {
      bytes.remove_prefix(strip.size());
      --strip_left_;
    }
    if (!bytes.empty()) strip_left_ = 0;
    pending_ += bytes;
    first_ = false;
  }
  if (alone && parts.vocabulary.data().restarts_after_added) strip_left_ = decoder.strip_count();
}

std::string StreamDecoder::push(std::int32_t id) {
  if (!tokenizer_->parts_->vocabulary.contains(id)) {
    fail_usage("there is no token {}: the vocabulary has {}", id, tokenizer_->vocabulary());
  }
  add(id);
  std::string text;
  drain_utf8(pending_, text);
  return text;
}

std::string StreamDecoder::finish() {
  holds_space_ = false;
  const bool incomplete = !pending_.empty();
  pending_.clear();
  return incomplete ? std::string(kReplacementCharacter) : std::string();
}

}  // namespace thinkey
