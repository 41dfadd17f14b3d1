// R-KV (2505.24133): chains of thought repeat themselves. Attention from the latest queries, less redundancy:
// the mean resemblance of a token's key to others', of resembling ones the latest excepted.
#include <algorithm>
#include <cmath>

#include "cache/policy.h"

namespace thinkey {
namespace {

struct RKVScorer final : Scorer {
  explicit RKVScorer(const RKV& o) : options(o) {}

  TokenNumbers scores(const ScoredTokens& tokens) override {
    const std::size_t window = options.window;
    const std::size_t group = tokens.shape.group();
    const TokenNumbers votes = tokens.attention(window);
    const TokenNumbers redundancy = tokens.store.key_redundancy(tokens.prompt, options.similarity);
    TokenNumbers scores;
    for (std::size_t h = 0; h < votes.size(); ++h) {
      const std::size_t n = tokens.counts[h];
      const std::size_t prefix = n - std::min(n, window);
      double total = 0.0;
      for (const float x : redundancy[h]) total += std::exp(x);
      std::vector<float> out(prefix, 0.0F);
      for (std::size_t g = 0; g < group; ++g) {
        const std::vector<float> pooled =
            pooled_votes(std::span(votes[h]).subspan(g * n, n), 1, n, prefix, options.kernel, Pooling::Max);
        for (std::size_t t = 0; t < prefix; ++t) out[t] = std::max(out[t], pooled[t]);
      }
      for (std::size_t t = 0; t < prefix; ++t) {
        const double importance = out[t] / static_cast<double>(window);
        out[t] = static_cast<float>(options.lambda * importance -
                                    (1.0 - options.lambda) * std::exp(redundancy[h][t]) / total);
      }
      scores.push_back(with_kept_tail(std::move(out), n));
    }
    return scores;
  }

  RKV options;
};

}  // namespace

template <>
const Policy& describe<RKV>() {
  static const Policy policy =
      PolicyBuilder<RKV>("rkv", "2505.24133", "what the latest queries attend to and no later token repeats")
          .whole("window", &RKV::window, 1)
          .odd("kernel", &RKV::kernel)
          .real("lambda", &RKV::lambda, 0.0, 1.0)
          .real("similarity", &RKV::similarity, -1.0, 1.0)
          .question_dependent([](const RKV&) { return true; })
          .always_keeps("window", [](const RKV& o) { return o.window; })
          .looks_at([](const RKV& o) { return o.window; })
          .scored_by<RKVScorer>();
  return policy;
}

}  // namespace thinkey
