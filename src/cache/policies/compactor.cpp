// Compactor (2507.08143): keys that stand out (leverage scores), blended with the attention that tokens get
// from the queries around them, later ones included. The paper's leverage scores are approximate (a random
// sketch of the keys); ours are exact, which the size of a head allows.
#include <algorithm>
#include <cmath>

#include "cache/policy.h"

namespace thinkey {
namespace {

// Mean 0 and standard deviation 1 over all heads.
void standardize(TokenNumbers& scores) {
  double sum = 0.0;
  double squares = 0.0;
  double count = 0.0;
  for (const auto& head : scores) {
    for (const float x : head) sum += x;
    count += static_cast<double>(head.size());
  }
  const double mean = count > 0.0 ? sum / count : 0.0;
  for (const auto& head : scores) {
    for (const float x : head) squares += (x - mean) * (x - mean);
  }
  const double deviation = std::max(1e-6, std::sqrt(squares / std::max(1.0, count - 1.0)));
  for (auto& head : scores) {
    for (float& x : head) x = static_cast<float>((x - mean) / deviation);
  }
}

struct CompactorScorer final : Scorer {
  explicit CompactorScorer(const Compactor& o) : options(o) {}

  void observe(const AttentionShape& shape, const LayerStore& store, const QueryRange& queries) override {
    const std::size_t tokens = queries.length();
    received.resize(shape.query_heads * tokens, 0.0F);
    const std::size_t recent = options.recent;
    QueryRange own = queries;  // but for the last, which are kept anyway
    own.n = std::min(own.n, tokens - std::min(tokens, recent) -
                                std::min(queries.first, tokens - std::min(tokens, recent)));
    if (own.n == 0) return;
    store.add_local_attention(own, options.sinks, options.block, tokens, received);
  }

  TokenNumbers scores(const ScoredTokens& tokens) override {
    const std::size_t n = tokens.prompt->tokens;
    const std::size_t group = tokens.shape.group();
    const std::size_t begin = std::min(n, options.sinks);
    const std::size_t end = n - std::min(n - begin, options.recent);
    TokenNumbers out(tokens.counts.size(), std::vector<float>(n, kAlwaysKept));
    if (begin == end) return out;
    TokenNumbers outliers = tokens.store.key_leverage(*tokens.prompt, begin, end);
    const TokenNumbers norms = tokens.store.value_norms(tokens.prompt, ValueNorm::Value);
    TokenNumbers attention;
    for (std::size_t h = 0; h < out.size(); ++h) {
      std::vector<float> weighted(end - begin, 0.0F);
      for (std::size_t t = begin; t < end; ++t) {
        for (std::size_t g = 0; g < group; ++g) weighted[t - begin] += received[(h * group + g) * n + t];
        weighted[t - begin] *= norms[h][t] / static_cast<float>(group);
      }
      attention.push_back(pooled_votes(weighted, 1, weighted.size(), weighted.size(), 3, Pooling::Average));
    }
    standardize(outliers);
    standardize(attention);
    const double share = 1.0 - static_cast<double>(tokens.budget) / static_cast<double>(n);
    const auto blend = static_cast<float>(options.blend < 0.0 ? share : options.blend);
    for (std::size_t h = 0; h < out.size(); ++h) {
      for (std::size_t t = begin; t < end; ++t) {
        out[h][t] = blend * outliers[h][t - begin] + attention[h][t - begin];
      }
    }
    return out;
  }

  Compactor options;
  std::vector<float> received;  // [H, T]
};

}  // namespace

template <>
const Policy& describe<Compactor>() {
  using O = Compactor;
  static const Policy policy =
      PolicyBuilder<O>("compactor", "2507.08143",
                       "outlying keys, and what the queries near a token attend to")
          .whole("sinks", &O::sinks, 0)
          .whole("recent", &O::recent, 0)
          .whole("block", &O::block, 2, 4096)
          .real("blend", &O::blend, -1.0, 1e6)
          .always_keeps("sinks and recent",
                        [](const O& o) { return std::max<std::size_t>(1, o.sinks + o.recent); })
          .observes_all([](const O&) { return true; })
          .prompts_only()
          .unrotates()
          .scored_by<CompactorScorer>();
  return policy;
}

}  // namespace thinkey
