// StreamingLLM (2309.17453): attention sinks and the latest tokens; what was said does not matter.
#include "cache/policy.h"

namespace thinkey {
namespace {

struct StreamingScorer final : Scorer {
  explicit StreamingScorer(const Streaming& o) : options(o) {}
  TokenNumbers scores(const ScoredTokens& tokens) override {
    TokenNumbers scores;
    for (std::size_t h = 0; h < tokens.counts.size(); ++h) {
      std::vector<float>& head = scores.emplace_back();
      // Sinks first, then the later the better; whole numbers below 2^24 are exact in f32, and above it
      // neighbours may tie, which the ranking breaks towards the earlier token.
      for (const std::int32_t position : tokens.positions(h)) {
        head.push_back(static_cast<std::size_t>(position) < options.sinks ? kAlwaysKept
                                                                          : static_cast<float>(position));
      }
    }
    return scores;
  }
  Streaming options;
};

}  // namespace

template <>
const Policy& describe<Streaming>() {
  static const Policy policy = PolicyBuilder<Streaming>("streaming", "2309.17453", "the first and the last")
                                   .whole("sinks", &Streaming::sinks, 0)
                                   .always_keeps("sinks", [](const Streaming& o) { return o.sinks + 1; })
                                   .has_no_ranking()
                                   .scored_by<StreamingScorer>();
  return policy;
}

}  // namespace thinkey
