// Expected Attention (2510.00636): queries before RoPE are taken to be normal, with the mean and covariance
// of the prompt's; averaged over the positions to come they have an expected attention, which is weighted by
// what a token would add. Evicting again, the latest queries stand for all.
#include <algorithm>
#include <cmath>

#include "cache/policy.h"

namespace thinkey {
namespace {

struct ExpectedScorer final : Scorer {
  explicit ExpectedScorer(const ExpectedAttention& o) : options_(o) {}

  void observe(const AttentionShape& shape, const LayerStore& store, const QueryRange& queries) override {
    if (moments_.empty()) {
      moments_.resize(shape.query_heads);
      for (QueryMoments& m : moments_) {
        if (options_.covariance) m.products.assign(shape.head_dim * shape.head_dim, 0.0);
      }
    }
    store.add_query_moments(queries, sinks(), static_cast<std::size_t>(queries.length()), moments_);
  }

  TokenNumbers scores(const ScoredTokens& tokens) override {
    if (tokens.prompt == nullptr)
      moments_ = tokens.store.remembered_moments(options_.covariance, tokens.next);
    TokenNumbers logits = tokens.store.expected_logits(tokens.prompt, moments_, tokens.next, options_.future);
    const TokenNumbers norms = tokens.store.value_norms(
        tokens.prompt, options_.output_norm ? ValueNorm::OutputL2 : ValueNorm::Value);
    const std::size_t group = tokens.shape.group();
    TokenNumbers scores;
    for (std::size_t h = 0; h < logits.size(); ++h) {
      const std::size_t n = tokens.counts[h];
      std::vector<float>& out = scores.emplace_back(n, 0.0F);
      const std::size_t first = tokens.leading(h, options_.sinks);
      for (std::size_t g = 0; g < group; ++g) {
        const std::span<float> row = std::span(logits[h]).subspan(g * n, n);
        add_share(row.subspan(first),
                  std::span(norms[h]).subspan(options_.output_norm ? g * n : 0, n).subspan(first),
                  std::span(out).subspan(first), group);
      }
      std::fill_n(out.begin(), first, kAlwaysKept);
    }
    return scores;
  }

 private:
  [[nodiscard]] std::size_t sinks() const { return options_.sinks; }

  // out += (softmax(row) + epsilon) * norms / group
  void add_share(std::span<const float> row, std::span<const float> norms, std::span<float> out,
                 std::size_t group) const {
    if (row.empty()) return;
    const double peak = *std::max_element(row.begin(), row.end());
    double total = 0.0;
    for (const float x : row) total += std::exp(x - peak);
    for (std::size_t t = 0; t < row.size(); ++t) {
      const double weight = std::exp(row[t] - peak) / total + options_.epsilon;
      out[t] += static_cast<float>(weight * norms[t] / static_cast<double>(group));
    }
  }

  ExpectedAttention options_;
  std::vector<QueryMoments> moments_;  // [H]
};

}  // namespace

template <>
const Policy& describe<ExpectedAttention>() {
  using O = ExpectedAttention;
  static const Policy policy =
      PolicyBuilder<O>("expected", "2510.00636", "what queries to come are expected to attend to")
          .whole("future", &O::future, 1, 1 << 20)
          .whole("sinks", &O::sinks, 0)
          .choice<bool>("covariance", &O::covariance, {{"yes", true}, {"no", false}})
          .choice<bool>("norm", &O::output_norm, {{"value", false}, {"output", true}})
          .real("epsilon", &O::epsilon, 0.0, 1.0)
          .whole("window", &O::window, 1)
          .always_keeps("sinks", [](const O& o) { return std::max<std::size_t>(1, o.sinks); })
          .remembers([](const O& o) { return o.window; })
          .observes_all([](const O&) { return true; })
          .unrotates()
          .weighs_outputs([](const O& o) { return o.output_norm; })
          .scored_by<ExpectedScorer>();
  return policy;
}

}  // namespace thinkey
