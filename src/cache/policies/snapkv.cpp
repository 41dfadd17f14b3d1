// SnapKV (2404.14469): the last prompt queries vote, the votes are pooled along tokens, and the winners are
// kept together with the window itself.
#include "cache/policies/snapkv.h"

#include <algorithm>

namespace thinkey {

TokenNumbers snapkv_scores(const ScoredTokens& tokens, std::size_t window, std::size_t kernel,
                           Pooling pooling) {
  const std::size_t last = window;
  const TokenNumbers votes = tokens.attention(last);
  TokenNumbers scores;
  for (std::size_t h = 0; h < votes.size(); ++h) {
    const std::size_t n = tokens.counts[h];
    scores.push_back(with_kept_tail(
        pooled_votes(votes[h], tokens.shape.group(), n, n - std::min(n, last), kernel, pooling), n));
  }
  return scores;
}

namespace {

struct SnapKVScorer final : Scorer {
  explicit SnapKVScorer(const SnapKV& o) : options(o) {}
  TokenNumbers scores(const ScoredTokens& tokens) override {
    return snapkv_scores(tokens, options.window, options.kernel, options.pooling);
  }
  SnapKV options;
};

}  // namespace

template <>
const Policy& describe<SnapKV>() {
  static const Policy policy =
      PolicyBuilder<SnapKV>("snapkv", "2404.14469", "what the last prompt queries attend to")
          .whole("window", &SnapKV::window, 1)
          .odd("kernel", &SnapKV::kernel)
          .choice<Pooling>("pool", &SnapKV::pooling, {{"avg", Pooling::Average}, {"max", Pooling::Max}})
          .question_dependent([](const SnapKV&) { return true; })
          .always_keeps("window", [](const SnapKV& o) { return o.window; })
          .looks_at([](const SnapKV& o) { return o.window; })
          .scored_by<SnapKVScorer>();
  return policy;
}

}  // namespace thinkey
