// TOVA (2401.06104): tokens are ranked by the attention that the last query gives them, averaged over all
// heads of the layer, which so keep the same tokens.
#include "cache/policy.h"

namespace thinkey {
namespace {

struct TovaScorer final : Scorer {
  explicit TovaScorer(const Tova&) {}
  TokenNumbers scores(const ScoredTokens& tokens) override {
    const TokenNumbers votes = tokens.attention(1);
    const std::size_t group = tokens.shape.group();
    // By position: heads that were evicted from before may hold different tokens.
    std::vector<double> sums(static_cast<std::size_t>(tokens.next), 0.0);
    std::vector<std::size_t> holders(sums.size(), 0);
    std::vector<std::vector<std::int32_t>> positions;
    for (std::size_t h = 0; h < votes.size(); ++h) {
      positions.push_back(tokens.positions(h));
      const std::size_t n = tokens.counts[h];
      for (std::size_t t = 0; t < n; ++t) {
        const auto at = static_cast<std::size_t>(positions[h][t]);
        for (std::size_t g = 0; g < group; ++g) sums[at] += votes[h][g * n + t];
        holders[at] += group;
      }
    }
    TokenNumbers scores;
    for (const std::vector<std::int32_t>& head : positions) {
      std::vector<float>& out = scores.emplace_back();
      for (const std::int32_t p : head) {
        const auto at = static_cast<std::size_t>(p);
        out.push_back(at + 1 == sums.size()
                          ? kAlwaysKept
                          : static_cast<float>(sums[at] / static_cast<double>(holders[at])));
      }
    }
    return scores;
  }
};

}  // namespace

template <>
const Policy& describe<Tova>() {
  static const Policy policy =
      PolicyBuilder<Tova>("tova", "2401.06104", "what the last query attends to, alike in every head")
          .question_dependent([](const Tova&) { return true; })
          .always_keeps("", [](const Tova&) { return std::size_t{1}; })
          .looks_at([](const Tova&) { return std::size_t{1}; })
          .scored_by<TovaScorer>();
  return policy;
}

}  // namespace thinkey
