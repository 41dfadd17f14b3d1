// Decoding token by token as the caller sees it, and several tokens at a time where a draft holds.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/prompt_lookup.h"
#include "thinkey/generate.h"
#include "thinkey/session.h"

namespace thinkey {

// logits() and tokens_seen() are at any time what the session's would be had it decoded the same tokens; the
// session itself is at rest before the first advance() and after finish() alone.
class Lookahead {
 public:
  // most: tokens drafted at a time; 0: none ever. `seen`: what the session holds, as far as it is known.
  Lookahead(Session& session, std::size_t most, std::span<const std::int32_t> seen);
  ~Lookahead();
  Lookahead(const Lookahead&) = delete;
  Lookahead& operator=(const Lookahead&) = delete;

  [[nodiscard]] std::span<const float> logits() const;
  [[nodiscard]] std::size_t tokens_seen() const noexcept { return seen_; }
  // Session::decode(). At most `more` further tokens will be wanted after this one.
  void advance(std::int32_t token, std::size_t more);
  // Leaves the session as it would be.
  void finish();
  [[nodiscard]] const LookupCounts& counts() const noexcept { return counts_; }

 private:
  Session& session_;
  std::size_t most_;
  std::size_t seen_;
  PromptLookup lookup_;
  std::vector<std::int32_t> ahead_;  // tokens of the step under way; empty: the session is at rest
  std::size_t taken_ = 0;            // of which the caller has decoded so many
  LookupCounts counts_;
};

}  // namespace thinkey
