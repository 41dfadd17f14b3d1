// KeyDiff (2504.15364): a key that points where most keys point says little that they do not; the tokens
// whose keys are least like the mean direction are kept.
#include "cache/policy.h"

namespace thinkey {
namespace {

struct KeyDiffScorer final : Scorer {
  explicit KeyDiffScorer(const KeyDiff&) {}
  TokenNumbers scores(const ScoredTokens& tokens) override {
    TokenNumbers scores = tokens.store.key_similarity(tokens.prompt);
    for (auto& head : scores) {
      for (float& x : head) x = -x;
    }
    return scores;
  }
};

}  // namespace

template <>
const Policy& describe<KeyDiff>() {
  static const Policy policy =
      PolicyBuilder<KeyDiff>("keydiff", "2504.15364", "keys that differ most from the mean key")
          .always_keeps("", [](const KeyDiff&) { return std::size_t{1}; })
          .scored_by<KeyDiffScorer>();
  return policy;
}

}  // namespace thinkey
