// Every family over a compressed cache, against a decode step written down plainly in double precision: dense
// attention over the tokens that each head still holds, pruned channels being zero, masked by the window.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "backend/cpu/ops/dequantize.h"
#include "backend/layer_store.h"
#include "cache/layer_cache.h"
#include "model/fixture.h"

namespace thinkey {
namespace {

using testing::TinyModel;
using Row = std::vector<double>;

Row product(const Linear& linear, const Row& x) {
  const auto rows = static_cast<std::size_t>(linear.weight.rows);
  std::vector<float> weights(x.size());
  Row y(rows);
  for (std::size_t r = 0; r < rows; ++r) {
    widen_row(linear.weight.type, linear.weight.row(static_cast<std::size_t>(r)), x.size(), weights.data());
    y[r] = std::inner_product(x.begin(), x.end(), weights.begin(),
                              linear.bias == nullptr ? 0.0 : linear.bias[r]);
  }
  return y;
}

// RMSNorm of every `width` numbers of x.
void normalise_plainly(const Norm& norm, std::size_t width, Row& x) {
  if (!norm) return;
  for (std::size_t at = 0; at < x.size(); at += width) {
    double squares = 0;
    for (std::size_t i = 0; i < width; ++i) squares += x[at + i] * x[at + i];
    const double factor =
        1.0 / std::sqrt(squares / static_cast<double>(width) + static_cast<double>(norm.epsilon));
    for (std::size_t i = 0; i < width; ++i) x[at + i] *= factor * norm.weight[i];
  }
}

void rotate_plainly(const RopeSpec& rope, std::int64_t position, std::size_t dim, Row& x) {
  std::vector<float> scratch;
  const auto frequencies = rope_frequencies(rope, position + 1, scratch);
  const std::size_t pairs = rope.rotated / 2;
  for (std::size_t head = 0; head < x.size(); head += dim) {
    for (std::size_t i = 0; i < pairs; ++i) {
      const bool interleaved = rope.pairs == RopePairs::Interleaved;
      double& a = x[head + (interleaved ? 2 * i : i)];
      double& b = x[head + (interleaved ? 2 * i + 1 : i + pairs)];
      const double angle = static_cast<double>(position) * frequencies[i];
      const double turned = a * std::cos(angle) - b * std::sin(angle);
      b = (b * std::cos(angle) + a * std::sin(angle)) * rope.magnitude;
      a = turned * rope.magnitude;
    }
  }
}

double activate_plainly(Activation activation, double gate, double up) {
  switch (activation) {
    case Activation::Silu:
      return gate / (1.0 + std::exp(-gate)) * up;
    case Activation::GeluTanh:
      return 0.5 * gate * (1.0 + std::tanh(0.7978845608028654 * (gate + 0.044715 * gate * gate * gate))) * up;
    case Activation::ReluSquared:
      return up > 0 ? up * up : 0.0;
    case Activation::ClampedSwiglu:
      break;
  }
  const double g = std::min(gate, 7.0);
  return g / (1.0 + std::exp(-1.702 * g)) * (std::clamp(up, -7.0, 7.0) + 1.0);
}

Row expert_plainly(const FeedForwardSpec& spec, const FeedForwardWeights& w, const Row& x) {
  const Row up = product(w.up, x);
  const Row gate = is_gated(spec.activation) ? product(w.gate, x) : up;
  Row inner(up.size());
  for (std::size_t i = 0; i < up.size(); ++i) inner[i] = activate_plainly(spec.activation, gate[i], up[i]);
  return product(w.down, inner);
}

Row feed_forward_plainly(const FeedForward& f, const Row& x) {
  if (f.spec.experts.count == 0) return expert_plainly(f.spec, f.dense, x);
  const Row logits = product(f.router, x);
  std::vector<std::size_t> order(logits.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return logits[a] > logits[b]; });
  const std::size_t among = f.spec.experts.normalised ? f.spec.experts.used : logits.size();
  double total = 0;
  for (std::size_t i = 0; i < among; ++i) total += std::exp(logits[order[i]]);
  Row out(x.size(), 0.0);
  for (std::size_t i = 0; i < f.spec.experts.used; ++i) {
    const Row one = expert_plainly(f.spec, f.experts[order[i]], x);
    for (std::size_t c = 0; c < out.size(); ++c) out[c] += std::exp(logits[order[i]]) / total * one[c];
  }
  return out;
}

// Attention of one query row [H, D] over what the layer's heads hold.
Row attend_plainly(const AttentionShape& shape, const LayerStore& store, std::int64_t position,
                   const Row& q) {
  const std::size_t dim = shape.head_dim;
  Row out(q.size(), 0.0);
  for (std::size_t h = 0; h < shape.query_heads; ++h) {
    const HeldTokens held = store.read(h / shape.group());
    Row logits;
    for (std::size_t t = 0; t < held.positions.size(); ++t) {
      double dot = 0;
      for (std::size_t c = 0; c < dim; ++c) dot += q[h * dim + c] * held.keys[t * dim + c];
      dot *= shape.logit_scale();
      if (shape.softcap > 0) dot = shape.softcap * std::tanh(dot / shape.softcap);
      const auto window = static_cast<std::int64_t>(shape.sliding_window);
      const bool seen = window == 0 || held.positions[t] > position - window;
      logits.push_back(seen ? dot : -INFINITY);
    }
    double peak = *std::max_element(logits.begin(), logits.end());
    if (shape.sinks != nullptr) peak = std::max(peak, static_cast<double>(shape.sinks[h]));
    double total = shape.sinks == nullptr ? 0.0 : std::exp(shape.sinks[h] - peak);
    for (const double logit : logits) total += std::exp(logit - peak);
    for (std::size_t t = 0; t < logits.size(); ++t) {
      const double weight = std::exp(logits[t] - peak) / total;
      for (std::size_t c = 0; c < dim; ++c) out[h * dim + c] += weight * held.values[t * dim + c];
    }
  }
  return out;
}

// Logits of a token whose keys and values the cache holds already.
Row decode_plainly(const Network& n, const SequenceCache& cache, std::int32_t token, std::int64_t position) {
  std::vector<float> embedded(n.width);
  widen_row(n.embedding.type, n.embedding.row(token), n.width, embedded.data());
  Row hidden(embedded.begin(), embedded.end());
  for (double& x : hidden) x *= n.embedding_scale;
  const auto add = [&](const Norm& post_norm, Row y) {
    normalise_plainly(post_norm, n.width, y);
    for (std::size_t i = 0; i < y.size(); ++i) hidden[i] += n.residual_scale * y[i];
  };
  for (std::size_t l = 0; l < n.layers.size(); ++l) {
    const Layer& layer = n.layers[l];
    const AttentionSpec& spec = layer.attention.spec;
    Row x = hidden;
    normalise_plainly(layer.attention_norm, n.width, x);
    Row q = product(layer.attention.query, x);
    normalise_plainly(layer.attention.query_norm,
                      spec.qk_norm == QkNorm::Whole ? q.size() : spec.shape.head_dim, q);
    if (spec.rope >= 0)
      rotate_plainly(n.ropes[static_cast<std::size_t>(spec.rope)], position, spec.shape.head_dim, q);
    if (spec.position_beta != 0.0F) {
      const double steps =
          std::floor(static_cast<double>(position) / static_cast<double>(spec.position_every));
      for (double& e : q) e *= 1.0 + spec.position_beta * std::log(1.0 + steps);
    }
    add(layer.attention_post_norm,
        product(layer.attention.output, attend_plainly(spec.shape, cache.layer(l).store(), position, q)));
    x = hidden;
    normalise_plainly(layer.feed_forward_norm, n.width, x);
    add(layer.feed_forward_post_norm, feed_forward_plainly(layer.feed_forward, x));
  }
  normalise_plainly(n.output_norm, n.width, hidden);
  Row logits = product(n.output, hidden);
  for (double& x : logits) {
    x *= n.logit_scale;
    if (n.logit_softcap > 0) x = n.logit_softcap * std::tanh(x / n.logit_softcap);
  }
  return logits;
}

class CompressedFamily : public ::testing::TestWithParam<std::string> {};

TEST_P(CompressedFamily, DecodesAsAPlainDenseStepOverWhatIsHeld) {
  const TinyModel model(GetParam());
  struct Case {
    const char* spec;
    double tolerance;  // of the logits' range: 16-bit rows, and codes of 4 bits under 8-bit queries
  };
  for (const Case& c : {Case{"full", 1e-3}, Case{"snapkv:40,window=8+think:0.4,recent=8,form=paper", 1e-3},
                        Case{"snapkv:40,window=8+think:0.4,recent=8,form=paper+kivi:4,residual=0", 0.03}}) {
    SequenceCache cache = model.cache(c.spec);
    (void)model.last_logits(model.decoder(), model.expects.ids, cache);
    for (std::size_t i = 0; i < 3; ++i) {
      const std::int32_t token = model.expects.greedy[i];
      const std::int64_t position = cache.next_position(0);
      const auto logits = TinyModel::step(model.decoder(), {{.token = token, .cache = &cache}});
      const Row wanted = decode_plainly(model.network(), cache, token, position);
      const auto [low, high] = std::minmax_element(wanted.begin(), wanted.end());
      double most = 0;
      for (std::size_t v = 0; v < wanted.size(); ++v) most = std::max(most, std::abs(logits[v] - wanted[v]));
      EXPECT_LE(most, c.tolerance * (*high - *low)) << c.spec << ", token " << i;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, CompressedFamily, ::testing::ValuesIn(testing::fixture_models()),
                         testing::test_name);

}  // namespace
}  // namespace thinkey
