// KVzip (2505.23416): the model is made to repeat the prompt, part by part, and a token is worth the largest
// attention it gets. `normalized` (KVzip+) weighs attention by |W_o v| over the norm of the query's input.
#include <algorithm>

#include "cache/policy.h"

namespace thinkey {
namespace {

struct KVzipScorer final : Scorer {
  explicit KVzipScorer(const KVzip& o) : options(o) {}

  void replay(const AttentionShape& shape, const LayerStore& store, const ReplayRange& range) override {
    const std::size_t tokens = range.queries.length();
    peaks.resize(shape.query_heads * tokens, 0.0F);
    ReplayRange own = range;
    if (!options.normalized) own.input_norms = nullptr;
    store.raise_replay_peaks(own, options.sinks, tokens, peaks);
  }

  TokenNumbers scores(const ScoredTokens& tokens) override {
    const std::size_t group = tokens.shape.group();
    TokenNumbers norms;
    if (options.normalized) norms = tokens.store.value_norms(tokens.prompt, ValueNorm::OutputL2);
    TokenNumbers scores;
    for (std::size_t h = 0; h < tokens.counts.size(); ++h) {
      const std::size_t n = tokens.counts[h];
      std::vector<float>& out = scores.emplace_back(n, 0.0F);
      for (std::size_t i = 0; i < group * n; ++i) {
        const float weight = norms.empty() ? 1.0F : norms[h][i];
        out[i % n] = std::max(out[i % n], weight * peaks[h * group * n + i]);
      }
      std::fill_n(out.begin(), std::min(n, options.sinks), kAlwaysKept);
    }
    return scores;
  }

  KVzip options;
  std::vector<float> peaks;  // [H, T]
};

}  // namespace

template <>
const Policy& describe<KVzip>() {
  static const Policy policy =
      PolicyBuilder<KVzip>("kvzip", "2505.23416", "what the model attends to when it repeats the prompt")
          .whole("sinks", &KVzip::sinks, 0)
          .flag("normalized", &KVzip::normalized)
          .always_keeps("sinks", [](const KVzip& o) { return std::max<std::size_t>(1, o.sinks); })
          .replays()
          .prompts_only()
          .scored_by<KVzipScorer>();
  return policy;
}

}  // namespace thinkey
