// H2O (2306.14048): tokens are ranked by the attention they have received, accumulated over all prompt
// queries, or (observe=window) over the last ones only. Held tokens are ranked by the latest queries.
#include "cache/policies/snapkv.h"

namespace thinkey {
namespace {

struct H2OScorer final : Scorer {
  explicit H2OScorer(const H2O& o) : options(o) {}

  void observe(const AttentionShape& shape, const LayerStore& store, const QueryRange& queries) override {
    received.resize(shape.query_heads * queries.length(), 0.0F);
    store.add_attention_sums(queries, queries.length(), received);
  }
  TokenNumbers scores(const ScoredTokens& tokens) override {
    if (received.empty()) return snapkv_scores(tokens, options.window, 1, Pooling::Average);
    TokenNumbers scores;
    const std::size_t group = tokens.shape.group();
    for (std::size_t h = 0; h < tokens.counts.size(); ++h) {
      const std::size_t n = tokens.counts[h];
      scores.push_back(with_kept_tail(pooled_votes(std::span(received).subspan(h * group * n, group * n),
                                                   group, n, n - options.window, 1, Pooling::Average),
                                      n));
    }
    return scores;
  }

  H2O options;
  std::vector<float> received;  // [H, T]
};

}  // namespace

template <>
const Policy& describe<H2O>() {
  static const Policy policy =
      PolicyBuilder<H2O>("h2o", "2306.14048", "what all prompt queries attend to, accumulated")
          .whole("window", &H2O::window, 1)
          .choice<bool>("observe", &H2O::observe_window, {{"all", false}, {"window", true}})
          .question_dependent([](const H2O& o) { return o.observe_window; })
          .always_keeps("window", [](const H2O& o) { return o.window; })
          .looks_at([](const H2O& o) { return o.window; })
          .observes_all([](const H2O& o) { return !o.observe_window; })
          .scored_by<H2OScorer>();
  return policy;
}

}  // namespace thinkey
