// One token for each of several sequences: every weight is read once, straight from the file.
#include <array>

#include "base/parallel.h"
#include "model/decoder.h"
#include "model/finite.h"
#include "ops/activation.h"
#include "ops/dequantize.h"
#include "ops/matvec.h"
#include "ops/norm.h"
#include "ops/rope.h"

namespace thinkey {

CacheShape cache_shape(const Config& config) noexcept {
  return {.layers = static_cast<std::size_t>(config.layers),
          .query_heads = static_cast<std::size_t>(config.query_heads),
          .kv_heads = static_cast<std::size_t>(config.kv_heads),
          .head_dim = static_cast<std::size_t>(config.head_dim),
          .sliding_window = static_cast<std::size_t>(config.sliding_window)};
}

void decode(const Decoder& decoder, std::span<const DecodeInput> batch, DecodeState& s) {
  const Config& c = decoder.config;
  const Weights& weights = decoder.weights;
  const ActivationPrecision precision = decoder.decode_activations;
  const std::size_t n = batch.size();
  const auto width = static_cast<std::size_t>(c.width);
  const auto heads = static_cast<std::size_t>(c.query_heads);
  const auto kv_heads = static_cast<std::size_t>(c.kv_heads);
  const auto head_dim = static_cast<std::size_t>(c.head_dim);
  const RopePairs pairs =
      c.rope_layout == RopeLayout::Interleaved ? RopePairs::Interleaved : RopePairs::HalfSplit;

  s.angles.clear();
  std::vector<std::int64_t> positions;
  for (std::size_t b = 0; b < n; ++b) {
    positions.push_back(batch[b].cache->next_position(0));
    widen_row(weights.token_embedding.type, weights.token_embedding.row(batch[b].token), width,
              s.hidden.data() + b * width);
    s.angles.emplace_back(c.rope_inverse_frequencies, positions[b], 1);
  }

  const auto check = [&](std::int64_t layer) {
    if (!decoder.check_finite) return;
    for (std::size_t b = 0; b < n; ++b) {
      require_finite_layer(layer, positions[b], s.hidden.data() + b * width, 1, width);
    }
  };
  check(-1);
  for (std::size_t layer = 0; layer < weights.layers.size(); ++layer) {
    const LayerWeights& w = weights.layers[layer];

    rms_norm(s.hidden.data(), w.attention_norm.data(), c.rms_epsilon, n, width, s.normed.data());
    const std::array qkv = {MatvecJob{w.query, s.query.data()}, MatvecJob{w.key, s.key.data()},
                            MatvecJob{w.value, s.value.data()}};
    matvec(qkv.data(), qkv.size(), s.normed.data(), n, precision);
    for (std::size_t b = 0; b < n; ++b) {
      float* query = s.query.data() + b * heads * head_dim;
      float* key = s.key.data() + b * kv_heads * head_dim;
      const float* value = s.value.data() + b * kv_heads * head_dim;
      rope(pairs, s.angles[b], 1, heads, heads * head_dim, query);
      rope(pairs, s.angles[b], 1, kv_heads, kv_heads * head_dim, key);
      const auto at = static_cast<std::int64_t>(layer);
      require_finite_attention("query", at, positions[b], {query, heads * head_dim});
      require_finite_attention("key", at, positions[b], {key, kv_heads * head_dim});
      require_finite_attention("value", at, positions[b], {value, kv_heads * head_dim});
      SequenceCache& cache = *batch[b].cache;
      const std::int64_t position = cache.next_position(layer);
      cache.append(layer, 1, key, value, kv_heads * head_dim);
      cache.attend(layer, 1, position, query, s.attended.data() + b * heads * head_dim);
      cache.renew(layer, 1, position, query, false);
    }
    matvec(w.attention_output, s.attended.data(), n, s.projected.data(), precision);
    add(s.projected.data(), n * width, s.hidden.data());

    rms_norm(s.hidden.data(), w.ffn_norm.data(), c.rms_epsilon, n, width, s.normed.data());
    const std::array gate_up = {MatvecJob{w.gate, s.gate.data()}, MatvecJob{w.up, s.up.data()}};
    matvec(gate_up.data(), gate_up.size(), s.normed.data(), n, precision);
    swiglu(s.gate.data(), s.up.data(), n * static_cast<std::size_t>(c.ffn_width), s.gate.data());
    matvec(w.down, s.gate.data(), n, s.projected.data(), precision);
    add(s.projected.data(), n * width, s.hidden.data());
    check(static_cast<std::int64_t>(layer));
  }

  rms_norm(s.hidden.data(), weights.output_norm.data(), c.rms_epsilon, n, width, s.normed.data());
  matvec(weights.output, s.normed.data(), n, s.logits.data(), precision);
}

}  // namespace thinkey
