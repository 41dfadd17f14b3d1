#include "model/work.h"

#include <algorithm>

namespace thinkey {

namespace {

double projection_work(const Network& network, std::size_t rows, std::size_t queries,
                       std::size_t outputs) noexcept {
  return static_cast<double>(network.width) *
         (2.0 * static_cast<double>(network.kv_width() * rows) +
          static_cast<double>(network.query_width() * (queries + outputs)));
}

}  // namespace

double attention_work(const Network& network, std::size_t layer, std::size_t rows, std::size_t queries,
                      std::size_t outputs, double keys) noexcept {
  const AttentionShape& shape = network.layers[layer].attention.spec.shape;
  double seen = keys - static_cast<double>(rows) / 2;  // by a row of the middle
  if (shape.sliding_window > 0) seen = std::min(seen, static_cast<double>(shape.sliding_window));
  return projection_work(network, rows, queries, outputs) +
         2 * seen * static_cast<double>(network.query_width() * outputs);
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

PrefillOperations prefill_operations(const Network& network, std::size_t tokens) noexcept {
  PrefillOperations out;
  const auto t = static_cast<double>(tokens);
  for (std::size_t layer = 0; layer < network.layers.size(); ++layer) {
    const LayerExtent extent = layer_extent(network, {.rows = tokens}, layer);
    const std::size_t outputs = tokens - extent.first_output;
    out.weights += 2 * (projection_work(network, tokens, tokens - extent.first_query, outputs) +
                        feed_forward_work(network, layer, outputs));
    const auto window = static_cast<double>(network.layers[layer].attention.spec.shape.sliding_window);
    const double seen = window > 0 ? std::min(t, window) : t;
    const double pairs = seen * (seen + 1.0) / 2.0 + (t - seen) * seen;  // of query and key
    if (outputs == tokens) out.attention += 4.0 * static_cast<double>(network.query_width()) * pairs;
  }
  return out;
}

}  // namespace thinkey
