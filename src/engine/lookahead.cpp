#include "engine/lookahead.h"

#include <algorithm>

#include "base/fail.h"

namespace thinkey {

Lookahead::Lookahead(Session& session, std::size_t most, std::span<const std::int32_t> seen)
    : session_(session), most_(most), seen_(session.tokens_seen()) {
  if (most_ > 0) lookup_.add(seen);
}

Lookahead::~Lookahead() {
  try {
    finish();
  } catch (...) {  // NOLINT(bugprone-empty-catch): the session then refuses further use
  }
}

std::span<const float> Lookahead::logits() const {
  return ahead_.empty() ? session_.logits() : session_.logits_ahead(taken_ - 1);
}

void Lookahead::advance(std::int32_t token, std::size_t more) {
  ++seen_;
  if (most_ > 0) lookup_.add(token);
  if (taken_ < ahead_.size() && ahead_[taken_] == token) {
    ++taken_;
    ++counts_.accepted;
    return;
  }
  finish();
  ++counts_.steps;
  std::vector<std::int32_t> draft;
  const std::size_t room = std::min({most_, more, most_ == 0 ? 0 : session_.draft_room()});
  if (room > 0) draft = lookup_.draft(room);
  if (draft.empty()) return session_.decode(token);
  counts_.drafted += draft.size();
  draft.insert(draft.begin(), token);
  session_.decode_ahead(draft);
  ahead_ = std::move(draft);
  taken_ = 1;
}

void Lookahead::finish() {
  if (ahead_.empty()) return;
  lookup_.learn(ahead_.size() - 1, taken_ - 1);
  ahead_.clear();
  session_.keep(taken_);
}

}  // namespace thinkey
