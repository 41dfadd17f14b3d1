#include "model/run_state.h"

#include <algorithm>

#include "ops/matmul_int8.h"

namespace thinkey {
namespace {

// Bounds of the buffers of all-position logits: [rows, V] f32, and a block of the output matrix.
constexpr std::size_t kLogitsBytes = std::size_t{64} << 20U;
constexpr std::size_t kOutputBlockElements = std::size_t{16} << 20U;

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

// 24 bits would be the coarsest rounding beside products in f32, and nothing beside the others.
HiddenPrecision hidden_precision(const PrefillRequest& request) noexcept {
  return request.precision == Precision::F32 ? HiddenPrecision::F32 : HiddenPrecision::F24;
}

// Tokens and inner channels of the FFN between two conversions of weights. The tokens grow with the prompt,
// so that weights are converted at most 16 times; their rows stay a sixteenth of the hidden states or less.
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
ProductScratch carve_products(Carver& carver, const ProductSizes& sizes, std::size_t rows,
                              std::size_t width) {
  ProductScratch out{.weights = carver.take<std::byte>(sizes.weight_bytes),
                     .weight_bytes = sizes.weight_bytes};
  if (sizes.bf16) out.bf16_rows = carver.take<bf16_bits>(rows * width);
  if (sizes.int8) out.int8_rows = carver.take<std::byte>(int8_activation_bytes(rows, width));
  return out;
}

AttentionScratch carve_attention(Carver& carver, const Dimensions& n, const PrefillRequest& request,
                                 const PrefillSizes& sizes) {
  AttentionScratch out;
  const std::size_t rows = sizes.chunk;
  out.normed = out.attended = carver.take<float>(rows * std::max(n.width, n.query_width));
  out.query = carver.take<float>(rows * std::max({n.query_width, 2 * n.kv_width, n.width}));
  out.key_rows = out.projected = out.query;
  out.value_rows = out.query == nullptr ? nullptr : out.query + rows * n.kv_width;
  out.observed = carver.take<float>(std::min(request.tokens, request.observation) * n.query_width);
  if (request.has_past || request.observes_all) out.lse = carver.take<float>(rows * n.heads);
  if (request.has_past) {
    out.past = carver.take<float>(rows * n.query_width);
    out.past_lse = carver.take<float>(rows * n.heads);
  }
  out.products = carve_products(carver, sizes.attention, rows, std::max(n.width, n.query_width));
  return out;
}

FeedForwardScratch carve_feed_forward(Carver& carver, const Dimensions& n, const PrefillSizes& sizes) {
  FeedForwardScratch out;
  out.normed = carver.take<float>((sizes.normed_bf16 ? kFewRows : sizes.ffn_rows) * n.width);
  if (sizes.normed_bf16) out.half_normed = carver.take<bf16_bits>(sizes.ffn_rows * n.width);
  // A last layer that computes few rows does so through all inner channels at once.
  const std::size_t inner = std::max(sizes.chunk * sizes.ffn_block, std::min(sizes.chunk, kFewRows) * n.ffn);
  out.gate = carver.take<float>(inner);
  out.up = out.rows = carver.take<float>(std::max(inner, sizes.chunk * n.width));
  out.products = carve_products(carver, sizes.feed_forward, sizes.chunk, std::max(sizes.ffn_block, n.width));
  return out;
}

LogitsScratch carve_logits(Carver& carver, const Dimensions& n, const PrefillRequest& request,
                           const PrefillSizes& sizes) {
  LogitsScratch out;
  out.normed = carver.take<float>(sizes.output_rows * n.width);
  if (request.all_logits) {
    out.logits = carver.take<float>(sizes.output_rows * n.vocabulary);
    out.products = carve_products(carver, sizes.output, sizes.output_rows, n.width);
  }
  return out;
}

// What products with `rows` x `cols` of a matrix add to their phase.
void add_product(const MatrixView& matrix, WeightForm form, std::size_t rows, std::size_t cols,
                 ProductSizes& phase) noexcept {
  if (!is_in_form(matrix, form)) phase.weight_bytes += form_bytes(form, rows, cols);
  phase.bf16 = phase.bf16 || form == WeightForm::BF16;
  phase.int8 = phase.int8 || form == WeightForm::Int8;
}

void raise(ProductSizes& most, const ProductSizes& phase) noexcept {
  most.weight_bytes = std::max(most.weight_bytes, phase.weight_bytes);
  most.bf16 = most.bf16 || phase.bf16;
  most.int8 = most.int8 || phase.int8;
}

// Most that any layer's attention and FFN need at the same time.
void size_products(const Config& config, const Weights& weights, const PrefillRequest& request,
                   PrefillSizes& sizes) noexcept {
  const Dimensions n = dimensions(config);
  bool f32_rows = false;  // some product of the FFN wants its input in f32
  for (std::size_t i = 0; i < weights.layers.size(); ++i) {
    const LayerWeights& w = weights.layers[i];
    const LayerExtent extent = layer_extent(config, request, i);
    const std::size_t outputs = request.tokens - extent.first_output;
    const auto form = [&](const MatrixView& m, std::size_t rows) {
      return weight_form(m, request.precision, request.activations, rows);
    };
    ProductSizes attention;
    const auto whole = [&](const MatrixView& m, std::size_t rows) {
      add_product(m, form(m, rows), static_cast<std::size_t>(m.rows), static_cast<std::size_t>(m.cols),
                  attention);
    };
    whole(w.query, request.tokens - extent.first_query);
    whole(w.key, request.tokens);
    whole(w.value, request.tokens);
    whole(w.attention_output, outputs);
    raise(sizes.attention, attention);

    ProductSizes feed_forward;
    add_product(w.gate, form(w.gate, outputs), sizes.ffn_block, n.width, feed_forward);
    add_product(w.up, form(w.up, outputs), sizes.ffn_block, n.width, feed_forward);
    add_product(w.down, form(w.down, outputs), n.width, sizes.ffn_block, feed_forward);
    raise(sizes.feed_forward, feed_forward);
    for (const MatrixView* m : {&w.gate, &w.up}) {
      f32_rows = f32_rows || form(*m, request.tokens) == WeightForm::F32;
    }
  }
  sizes.normed_bf16 = !f32_rows && request.tokens > kFewRows;
}

}  // namespace

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
  s.hidden_bytes = HiddenStates::bytes(tokens, n.width, hidden_precision(request));
  s.kv = tokens * n.kv_width;
  s.kv_bytes = request.precision == Precision::BF16 ? sizeof(bf16_bits) : sizeof(float);
  s.angles = s.chunk * 2 * n.pairs;
  size_products(config, weights, request, s);
  s.output_rows = 1;
  if (request.all_logits) {
    const std::size_t rows_within = kLogitsBytes / (sizeof(float) * n.vocabulary);
    s.output_rows = std::min(s.chunk, std::max<std::size_t>(rows_within, 16));
    const WeightForm form = weight_form(weights.output, request.precision, request.activations, tokens);
    s.output_block = n.vocabulary;
    if (!is_in_form(weights.output, form)) {
      s.output_block = std::clamp<std::size_t>(kOutputBlockElements / n.width, 1, n.vocabulary);
    }
    add_product(weights.output, form, s.output_block, n.width, s.output);
  }
  Carver attention;
  Carver feed_forward;
  Carver logits;
  static_cast<void>(carve_attention(attention, n, request, s));
  static_cast<void>(carve_feed_forward(feed_forward, n, s));
  static_cast<void>(carve_logits(logits, n, request, s));
  s.scratch_bytes = std::max({attention.used(), feed_forward.used(), logits.used()});
  return s;
}

MemoryEstimate prefill_bytes(const PrefillSizes& s) noexcept {
  return {.hidden_states = s.hidden_bytes,
          .layer_kv = 2 * s.kv * s.kv_bytes,
          .scratch = s.scratch_bytes + s.angles * sizeof(float),
          .cache = 0};
}

PrefillState::PrefillState(const Config& config, const PrefillRequest& request, const PrefillSizes& sizes,
                           AllocationCounter* counter)
    : hidden(request.tokens, dimensions(config).width, hidden_precision(request), counter),
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
  feed_forward = carve_feed_forward(for_feed_forward, n, sizes);
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
