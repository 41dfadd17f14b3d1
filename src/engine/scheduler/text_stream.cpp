#include "engine/scheduler/text_stream.h"

#include <algorithm>
#include <string_view>
#include <utility>

namespace thinkey {

TextStream::TextStream(const Tokenizer* tokenizer, bool special, std::vector<std::string> stop)
    : stop_(std::move(stop)) {
  if (tokenizer != nullptr) decoder_.emplace(*tokenizer, special, false);  // it continues a prompt
  std::erase(stop_, std::string());
}

std::string TextStream::push(std::int32_t token) {
  if (!decoder_ || stopped_) return {};
  held_ += decoder_->push(token);
  return release();
}

std::string TextStream::release() {
  // Of several stop strings the one that is complete first ends the answer, which is the one whose end comes
  // first; of those that end together the longest.
  std::size_t best_end = std::string::npos;
  std::size_t best_begin = 0;
  for (const std::string& stop : stop_) {
    const std::size_t at = held_.find(stop);
    if (at == std::string::npos) continue;
    const std::size_t end = at + stop.size();
    if (end < best_end || (end == best_end && at < best_begin)) {
      best_end = end;
      best_begin = at;
      stopped_ = stop;
    }
  }
  if (stopped_) {
    std::string out = held_.substr(0, best_begin);
    held_.clear();
    return out;
  }
  std::size_t keep = 0;
  for (const std::string& stop : stop_) {
    for (std::size_t n = std::min(stop.size() - 1, held_.size()); n > keep; --n) {
      if (std::string_view(held_).ends_with(std::string_view(stop).substr(0, n))) {
        keep = n;
        break;
      }
    }
  }
  std::string out = held_.substr(0, held_.size() - keep);
  held_.erase(0, out.size());
  return out;
}

std::string TextStream::finish() {
  if (stopped_) return {};
  std::string rest = std::exchange(held_, {});
  if (decoder_) rest += decoder_->finish();
  return rest;
}

}  // namespace thinkey
