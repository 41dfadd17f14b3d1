#include "engine/prompt_lookup.h"

#include <algorithm>

namespace thinkey {
namespace {

constexpr std::size_t kNowhere = static_cast<std::size_t>(-1);
constexpr std::size_t kPlaces = 64;    // earlier places that are compared
constexpr std::size_t kLongest = 32;   // tokens of a match that are counted
constexpr std::size_t kLongMatch = 4;  // from here on a match is long
constexpr double kRowShare = 0.4;      // a further row costs about this share of a step of its own
constexpr double kForget = 0.9;        // weight of what was learned before the latest draft

std::uint64_t pair_of(std::int32_t first, std::int32_t second) noexcept {
  return static_cast<std::uint64_t>(static_cast<std::uint32_t>(first)) << 32U |
         static_cast<std::uint32_t>(second);
}

// How likely a token of a draft must be to be right, where a step has `rows` rows without drafts. With as
// many tokens it takes 1 + kRowShare (rows - 1) steps of one row; a further row must not be dearer than a
// token.
double worthwhile(std::size_t rows) noexcept {
  const auto n = static_cast<double>(rows);
  return kRowShare * n / (1.0 + kRowShare * (n - 1.0));
}

}  // namespace

void PromptLookup::add(std::int32_t token) {
  const std::size_t here = tokens_.size();
  tokens_.push_back(token);
  before_.push_back(kNowhere);
  if (here == 0) return;
  const auto [place, first] = pairs_.try_emplace(pair_of(tokens_[here - 1], token), here);
  if (first) return;
  before_[here] = place->second;
  place->second = here;
}

std::vector<std::int32_t> PromptLookup::draft(std::size_t most, std::size_t rows) {
  std::vector<std::int32_t> out;
  if (tokens_.empty()) return out;
  const std::size_t end = tokens_.size() - 1;
  std::size_t best = kNowhere;
  std::size_t longest = 0;
  std::size_t at = before_[end];
  for (std::size_t i = 0; i < kPlaces && at != kNowhere && longest < kLongest; ++i, at = before_[at]) {
    std::size_t length = 2;
    while (length < kLongest && length <= at && tokens_[at - length] == tokens_[end - length]) ++length;
    if (length <= longest) continue;
    longest = length;
    best = at;
  }
  if (best == kNowhere) return out;
  record_ = longest < kLongMatch ? &short_ : &long_;
  const double chance = record_->chance();
  double all_right = chance;
  const double enough = worthwhile(rows);
  while (out.size() < most && ((out.empty() && rows == 1) || all_right >= enough)) {
    const std::size_t from = best + 1 + out.size();  // a match that reaches the end repeats itself
    out.push_back(from <= end ? tokens_[from] : out[from - end - 1]);
    all_right *= chance;
  }
  return out;
}

void PromptLookup::learn(std::size_t drafted, std::size_t accepted) {
  record_->right = kForget * record_->right + static_cast<double>(accepted);
  record_->wrong = kForget * record_->wrong + (accepted < drafted ? 1.0 : 0.0);
}

}  // namespace thinkey
