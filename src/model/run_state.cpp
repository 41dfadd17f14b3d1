#include "model/run_state.h"

#include <algorithm>
#include <cstdint>

namespace thinkey {
namespace {

// Bounds of the buffers of all-position logits: [rows, V] f32, and a block of the output matrix.
constexpr std::size_t kLogitsBytes = std::size_t{64} << 20U;
constexpr std::size_t kOutputBlockElements = std::size_t{16} << 20U;

std::size_t elements(const MatrixView& m) noexcept { return static_cast<std::size_t>(m.rows * m.cols); }

struct Dimensions {
  std::size_t width, query_width, kv_width, heads, ffn, vocabulary, pairs;
};

Dimensions dimensions(const Config& c) noexcept {
  const auto size = [](std::int64_t n) { return static_cast<std::size_t>(n); };
  return {.width = size(c.width),
          .query_width = size(c.query_heads * c.head_dim),
          .kv_width = size(c.kv_heads * c.head_dim),
          .heads = size(c.query_heads),
          .ffn = size(c.ffn_width),
          .vocabulary = size(c.vocabulary),
          .pairs = size(c.head_dim / 2)};
}

// Most weights that have to be widened at the same time: one layer's attention, or its FFN.
std::size_t widened_elements(const Config& config, const Weights& weights,
                             const PrefillRequest& request) noexcept {
  std::size_t most = 0;
  for (std::size_t i = 0; i < weights.layers.size(); ++i) {
    const LayerWeights& w = weights.layers[i];
    const LayerExtent extent = layer_extent(config, request, i);
    const std::size_t queries = request.tokens - extent.first_query;
    const std::size_t outputs = request.tokens - extent.first_output;
    const auto scratch = [&](const MatrixView& m, std::size_t rows) {
      return needs_widening(m, request.precision, rows) ? elements(m) : 0;
    };
    most = std::max(most, scratch(w.query, queries) + scratch(w.key, request.tokens) +
                              scratch(w.value, request.tokens) + scratch(w.attention_output, outputs));
    most = std::max(most, scratch(w.gate, outputs) + scratch(w.up, outputs) + scratch(w.down, outputs));
  }
  return most;
}

}  // namespace

bool needs_widening(const MatrixView& matrix, Precision precision, std::size_t rows) noexcept {
  if (rows <= kFewRows) return false;
  const bool bf16 = precision == Precision::BF16;
  // Files do not promise alignment.
  const bool aligned =
      reinterpret_cast<std::uintptr_t>(matrix.data) % (bf16 ? sizeof(bf16_bits) : sizeof(float)) == 0;
  return matrix.type != (bf16 ? TensorType::BF16 : TensorType::F32) || !aligned;
}

LayerExtent layer_extent(const Config& config, const PrefillRequest& request, std::size_t layer) noexcept {
  if (request.all_logits || layer + 1 < static_cast<std::size_t>(config.layers)) return {};
  std::size_t observation = request.observation;
  if (request.observes_all) observation = request.tokens;
  return {.first_query = request.tokens - std::min(request.tokens, std::max<std::size_t>(observation, 1)),
          .first_output = request.tokens - 1};
}

PrefillSizes prefill_sizes(const Config& config, const Weights& weights, const PrefillRequest& request) {
  const Dimensions n = dimensions(config);
  const std::size_t tokens = request.tokens;
  const std::size_t chunk = std::min(tokens, request.chunk);
  PrefillSizes s;
  s.hidden = tokens * n.width;
  s.key = s.value = tokens * n.kv_width;
  s.normed = chunk * n.width;
  s.query = s.attended = chunk * n.query_width;
  s.key_rows = s.value_rows = chunk * n.kv_width;
  if (request.has_past) {
    s.past = chunk * n.query_width;
    s.past_lse = chunk * n.heads;
  }
  s.observed = std::min(tokens, request.observation) * n.query_width;
  if (request.has_past || request.observes_all) s.lse = chunk * n.heads;
  s.gate = s.up = chunk * n.ffn;
  s.projected = std::min(chunk, kFewRows) * n.width;
  s.angles = tokens * 2 * n.pairs;

  std::size_t widened = widened_elements(config, weights, request);
  if (request.all_logits) {
    const std::size_t rows_within = kLogitsBytes / (sizeof(float) * n.vocabulary);
    s.output_rows = std::min(chunk, std::max<std::size_t>(rows_within, 16));
    s.output_block = n.vocabulary;
    if (needs_widening(weights.output, request.precision, tokens)) {
      s.output_block =
          std::clamp<std::size_t>(std::max(kOutputBlockElements, widened) / n.width, 1, n.vocabulary);
      widened = std::max(widened, s.output_block * n.width);
    }
    s.logits = s.output_rows * n.vocabulary;
  }
  if (request.precision == Precision::BF16) {
    s.widened_bf16 = widened;
    if (tokens > kFewRows) s.half_rows = chunk * std::max({n.width, n.query_width, n.ffn});
  } else {
    s.widened_f32 = widened;
  }
  return s;
}

MemoryEstimate prefill_bytes(const PrefillSizes& s) noexcept {
  const std::size_t scratch_f32 = s.normed + s.query + s.attended + s.key_rows + s.value_rows + s.observed +
                                  s.past + s.lse + s.past_lse + s.gate + s.up + s.projected + s.widened_f32 +
                                  s.logits + s.angles;
  return {.hidden_states = s.hidden * sizeof(float),
          .layer_kv = (s.key + s.value) * sizeof(float),
          .scratch = scratch_f32 * sizeof(float) + (s.half_rows + s.widened_bf16) * sizeof(bf16_bits),
          .cache = 0};
}

PrefillState::PrefillState(const Config& config, const PrefillRequest& request, const PrefillSizes& sizes,
                           std::size_t past_tokens, AllocationCounter* counter)
    : hidden(sizes.hidden, counter),
      key(sizes.key, counter),
      value(sizes.value, counter),
      normed(sizes.normed, counter),
      query(sizes.query, counter),
      attended(sizes.attended, counter),
      key_rows(sizes.key_rows, counter),
      value_rows(sizes.value_rows, counter),
      observed(sizes.observed, counter),
      lse(sizes.lse, counter),
      past(sizes.past, counter),
      past_lse(sizes.past_lse, counter),
      gate(sizes.gate, counter),
      up(sizes.up, counter),
      projected(sizes.projected, counter),
      half_rows(sizes.half_rows, counter),
      widened_f32(sizes.widened_f32, counter),
      widened_bf16(sizes.widened_bf16, counter),
      logits(sizes.logits, counter) {
  angles.reserve((request.tokens + request.chunk - 1) / request.chunk);
  for (std::size_t begin = 0; begin < request.tokens; begin += request.chunk) {
    angles.emplace_back(config.rope_inverse_frequencies, static_cast<std::int64_t>(past_tokens + begin),
                        std::min(request.chunk, request.tokens - begin));
  }
}

DecodeState::DecodeState(const Config& config, std::size_t batch, AllocationCounter* counter)
    : hidden(batch * dimensions(config).width, counter),
      normed(batch * dimensions(config).width, counter),
      query(batch * dimensions(config).query_width, counter),
      key(batch * dimensions(config).kv_width, counter),
      value(batch * dimensions(config).kv_width, counter),
      attended(batch * dimensions(config).query_width, counter),
      projected(batch * dimensions(config).width, counter),
      gate(batch * dimensions(config).ffn, counter),
      up(batch * dimensions(config).ffn, counter),
      logits(batch * dimensions(config).vocabulary, counter) {
  angles.reserve(batch);
}

std::size_t DecodeState::bytes(const Config& config, std::size_t batch) noexcept {
  const Dimensions n = dimensions(config);
  return batch * sizeof(float) *
         (3 * n.width + 2 * n.query_width + 2 * n.kv_width + 2 * n.ffn + n.vocabulary);
}

}  // namespace thinkey
