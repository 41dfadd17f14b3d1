// PyramidKV (2406.02069): SnapKV with budgets that fall from the first layer to the last.
#include <cmath>

#include "cache/policies/snapkv.h"

namespace thinkey {
namespace {

struct PyramidKVScorer final : Scorer {
  explicit PyramidKVScorer(const PyramidKV& o) : options(o) {}
  TokenNumbers scores(const ScoredTokens& tokens) override {
    return snapkv_scores(tokens, options.window, options.kernel, options.pooling);
  }
  PyramidKV options;
};

// Section 4: falls linearly from the first layer to the last at the same total.
std::size_t pyramid(const PyramidKV& options, std::size_t budget, std::size_t tokens, std::size_t layer,
                    std::size_t layers) {
  if (budget >= tokens || layers < 2) return budget;
  const std::size_t window = options.window;
  const auto mean = static_cast<double>(budget - window);
  double low = mean / options.beta;
  double high = 2.0 * mean - low;
  if (high > static_cast<double>(tokens - window)) {
    high = static_cast<double>(tokens - window);
    low = 2.0 * mean - high;
  }
  const double step = (high - low) / static_cast<double>(layers - 1);
  // Rounded so that the layers' sum is the total.
  const auto up_to = [&](std::size_t n) {
    const auto m = static_cast<double>(n);
    return std::llround(m * high - step * m * (m - 1.0) / 2.0);
  };
  return window + static_cast<std::size_t>(up_to(layer + 1) - up_to(layer));
}

}  // namespace

template <>
const Policy& describe<PyramidKV>() {
  static const Policy policy =
      PolicyBuilder<PyramidKV>("pyramidkv", "2406.02069", "SnapKV with more budget in the lower layers")
          .whole("window", &PyramidKV::window, 1)
          .odd("kernel", &PyramidKV::kernel)
          .choice<Pooling>("pool", &PyramidKV::pooling, {{"avg", Pooling::Average}, {"max", Pooling::Max}})
          .real("beta", &PyramidKV::beta, 1.0, 1e6)
          .question_dependent([](const PyramidKV&) { return true; })
          .always_keeps("window", [](const PyramidKV& o) { return o.window; })
          .looks_at([](const PyramidKV& o) { return o.window; })
          .layer_budget(pyramid)
          .scored_by<PyramidKVScorer>();
  return policy;
}

}  // namespace thinkey
