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

// Tokens and inner channels of the FFN between two widenings. The tokens grow with the prompt, so that
// weights are widened at most 16 times; their rows stay a sixteenth of the hidden states or less.
constexpr std::size_t kFfnRows = 2048;
constexpr std::size_t kFfnShare = 16;
constexpr std::size_t kFfnBlock = 1024;  // whole blocks of every type

// Hands out pieces of one buffer; without one it only counts.
class Carver {
 public:
  explicit Carver(std::byte* base = nullptr) : base_(base) {}

  template <typename T>
  T* take(std::size_t n) {
    if (n == 0) return nullptr;
    T* piece = base_ == nullptr ? nullptr : reinterpret_cast<T*>(base_ + used_);
    used_ += (n * sizeof(T) + kAlignment - 1) / kAlignment * kAlignment;
    return piece;
  }
  [[nodiscard]] std::size_t used() const noexcept { return used_; }

 private:
  std::byte* base_;
  std::size_t used_ = 0;
};

// A phase whose products have inputs of up to `width` numbers.
ProductScratch carve_products(Carver& carver, const PrefillRequest& request, std::size_t rows,
                              std::size_t width, std::size_t widened, std::size_t model_width) {
  ProductScratch out{.widened_size = widened};
  const bool few = request.tokens <= kFewRows;
  if (request.precision == Precision::BF16) {
    out.widened_bf16 = carver.take<bf16_bits>(widened);
    out.half_rows = carver.take<bf16_bits>(few ? 0 : rows * width);
  } else {
    out.widened_f32 = carver.take<float>(widened);
  }
  out.projected = carver.take<float>(std::min(rows, kFewRows) * model_width);
  return out;
}

AttentionScratch carve_attention(Carver& carver, const Dimensions& n, const PrefillRequest& request,
                                 const PrefillSizes& sizes) {
  AttentionScratch out;
  const std::size_t rows = sizes.chunk;
  out.normed = out.attended = carver.take<float>(rows * std::max(n.width, n.query_width));
  out.query = carver.take<float>(rows * std::max(n.query_width, 2 * n.kv_width));
  out.key_rows = out.query;
  out.value_rows = out.query == nullptr ? nullptr : out.query + rows * n.kv_width;
  out.observed = carver.take<float>(std::min(request.tokens, request.observation) * n.query_width);
  if (request.has_past || request.observes_all) out.lse = carver.take<float>(rows * n.heads);
  if (request.has_past) {
    out.past = carver.take<float>(rows * n.query_width);
    out.past_lse = carver.take<float>(rows * n.heads);
  }
  out.products = carve_products(carver, request, rows, std::max(n.width, n.query_width),
                                sizes.widened_attention, n.width);
  return out;
}

FeedForwardScratch carve_feed_forward(Carver& carver, const Dimensions& n, const PrefillRequest& request,
                                      const PrefillSizes& sizes) {
  FeedForwardScratch out;
  const bool half = request.precision == Precision::BF16 && request.tokens > kFewRows;
  out.normed = carver.take<float>((half ? sizes.chunk : sizes.ffn_rows) * n.width);
  if (half) out.half_normed = carver.take<bf16_bits>(sizes.ffn_rows * n.width);
  // A last layer that computes few rows does so through all inner channels at once.
  const std::size_t inner = std::max(sizes.chunk * sizes.ffn_block, std::min(sizes.chunk, kFewRows) * n.ffn);
  out.gate = carver.take<float>(inner);
  out.up = carver.take<float>(inner);
  out.products = carve_products(carver, request, sizes.chunk, sizes.ffn_block, sizes.widened_ffn, n.width);
  return out;
}

LogitsScratch carve_logits(Carver& carver, const Dimensions& n, const PrefillRequest& request,
                           const PrefillSizes& sizes) {
  LogitsScratch out;
  out.normed = carver.take<float>(sizes.output_rows * n.width);
  if (request.all_logits) {
    out.logits = carver.take<float>(sizes.output_rows * n.vocabulary);
    out.products = carve_products(carver, request, sizes.output_rows, n.width, sizes.widened_output, n.width);
  }
  return out;
}

// Most weights of a layer that have to be widened at the same time, for attention and for the FFN.
void count_widened(const Config& config, const Weights& weights, const PrefillRequest& request,
                   PrefillSizes& sizes) noexcept {
  for (std::size_t i = 0; i < weights.layers.size(); ++i) {
    const LayerWeights& w = weights.layers[i];
    const LayerExtent extent = layer_extent(config, request, i);
    const std::size_t queries = request.tokens - extent.first_query;
    const std::size_t outputs = request.tokens - extent.first_output;
    const auto scratch = [&](const MatrixView& m, std::size_t rows) {
      return needs_widening(m, request.precision, rows) ? elements(m) : 0;
    };
    sizes.widened_attention = std::max(
        sizes.widened_attention, scratch(w.query, queries) + scratch(w.key, request.tokens) +
                                     scratch(w.value, request.tokens) + scratch(w.attention_output, outputs));
    const std::size_t ffn = scratch(w.gate, outputs) + scratch(w.up, outputs) + scratch(w.down, outputs);
    sizes.widened_ffn = std::max(sizes.widened_ffn, ffn / dimensions(config).ffn * sizes.ffn_block);
  }
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
  if (request.observes_all || request.all_queries) observation = request.tokens;
  return {.first_query = request.tokens - std::min(request.tokens, std::max<std::size_t>(observation, 1)),
          .first_output = request.tokens - 1};
}

PrefillSizes prefill_sizes(const Config& config, const Weights& weights, const PrefillRequest& request) {
  const Dimensions n = dimensions(config);
  const std::size_t tokens = request.tokens;
  PrefillSizes s;
  s.chunk = std::min(tokens, request.chunk);
  const std::size_t rows = std::max(kFfnRows, tokens / kFfnShare);
  s.ffn_rows = std::min(tokens, (rows + s.chunk - 1) / s.chunk * s.chunk);
  s.ffn_block = tokens <= kFewRows ? n.ffn : std::min(n.ffn, kFfnBlock);
  s.hidden = tokens * n.width;
  s.kv = tokens * n.kv_width;
  s.kv_bytes = request.precision == Precision::BF16 ? sizeof(bf16_bits) : sizeof(float);
  s.angles = s.chunk * 2 * n.pairs;
  count_widened(config, weights, request, s);
  s.output_rows = 1;
  if (request.all_logits) {
    const std::size_t rows_within = kLogitsBytes / (sizeof(float) * n.vocabulary);
    s.output_rows = std::min(s.chunk, std::max<std::size_t>(rows_within, 16));
    s.output_block = n.vocabulary;
    if (needs_widening(weights.output, request.precision, tokens)) {
      s.output_block = std::clamp<std::size_t>(kOutputBlockElements / n.width, 1, n.vocabulary);
      s.widened_output = s.output_block * n.width;
    }
  }
  Carver attention;
  Carver feed_forward;
  Carver logits;
  static_cast<void>(carve_attention(attention, n, request, s));
  static_cast<void>(carve_feed_forward(feed_forward, n, request, s));
  static_cast<void>(carve_logits(logits, n, request, s));
  s.scratch_bytes = std::max({attention.used(), feed_forward.used(), logits.used()});
  return s;
}

MemoryEstimate prefill_bytes(const PrefillSizes& s) noexcept {
  return {.hidden_states = s.hidden * sizeof(float),
          .layer_kv = 2 * s.kv * s.kv_bytes,
          .scratch = s.scratch_bytes + s.angles * sizeof(float),
          .cache = 0};
}

PrefillState::PrefillState(const Config& config, const PrefillRequest& request, const PrefillSizes& sizes,
                           AllocationCounter* counter)
    : hidden(sizes.hidden, counter),
      angles(config.rope_inverse_frequencies, 0, sizes.chunk),
      scratch_(sizes.scratch_bytes, counter) {
  if (request.precision == Precision::BF16) {
    key_bf16 = AlignedBuffer<bf16_bits>(sizes.kv, counter);
    value_bf16 = AlignedBuffer<bf16_bits>(sizes.kv, counter);
  } else {
    key_f32 = AlignedBuffer<float>(sizes.kv, counter);
    value_f32 = AlignedBuffer<float>(sizes.kv, counter);
  }
  const Dimensions n = dimensions(config);
  Carver for_attention(scratch_.data());
  Carver for_feed_forward(scratch_.data());
  Carver for_logits(scratch_.data());
  attention = carve_attention(for_attention, n, request, sizes);
  feed_forward = carve_feed_forward(for_feed_forward, n, request, sizes);
  logits = carve_logits(for_logits, n, request, sizes);
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
