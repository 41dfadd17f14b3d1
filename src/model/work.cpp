#include "model/work.h"

#include <algorithm>

namespace thinkey {

double attention_work(const Network& network, std::size_t layer, std::size_t rows, std::size_t queries,
                      std::size_t outputs, double keys) noexcept {
  const AttentionShape& shape = network.layers[layer].attention.spec.shape;
  const auto query_width = static_cast<double>(network.query_width());
  const auto width = static_cast<double>(network.width);
  double seen = keys - static_cast<double>(rows) / 2;  // by a row of the middle
  if (shape.sliding_window > 0) seen = std::min(seen, static_cast<double>(shape.sliding_window));
  return width * (2.0 * static_cast<double>(network.kv_width() * rows) + query_width * static_cast<double>(queries)) +
         query_width * (width + 2 * seen) * static_cast<double>(outputs);
}

double feed_forward_work(const Network& network, std::size_t layer, std::size_t rows) noexcept {
  const FeedForwardSpec& f = network.layers[layer].feed_forward.spec;
  const double experts = f.experts.count == 0 ? 1.0 : static_cast<double>(f.experts.used);
  const double matrices = is_gated(f.activation) ? 3 : 2;
  return static_cast<double>(rows) * matrices * experts * static_cast<double>(network.width * f.width);
}

double logits_work(const Network& network, std::size_t rows) noexcept {
  return static_cast<double>(rows) * static_cast<double>(network.vocabulary * network.width);
}

}  // namespace thinkey
