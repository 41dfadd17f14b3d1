#include "backend/cpu/pass_memory.h"

#include <algorithm>

#include "backend/cpu/ops/matmul_int8.h"

namespace thinkey {
namespace {

// Bounds of the buffers of all-row logits: [rows, V] f32, and a block of the output matrix.
constexpr std::size_t kLogitsBytes = std::size_t{64} << 20U;
constexpr std::size_t kOutputBlockElements = std::size_t{16} << 20U;

// Rows and inner channels of the FFN between two conversions of weights. The rows grow with the prompt, so
// that weights are converted at most 16 times; they stay a sixteenth of the hidden states or less.
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

AttentionScratch carve_attention(Carver& carver, const Network& n, const PassRequest& request,
                                 const PassSizes& sizes) {
  AttentionScratch out;
  const std::size_t rows = sizes.chunk;
  const std::size_t query_width = n.query_width();
  out.a = {carver.take<float>(sizes.attention_a), sizes.attention_a};
  out.b = {carver.take<float>(sizes.attention_b), sizes.attention_b};
  out.observed = carver.take<float>(std::min(request.rows, request.observation) * query_width);
  if (request.log_sums) out.lse = carver.take<float>(rows * n.heads().query_heads);
  if (request.has_past) {
    out.past = carver.take<float>(rows * query_width);
    out.past_lse = carver.take<float>(rows * n.heads().query_heads);
  }
  out.products = carve_products(carver, sizes.attention, rows, std::max(n.width, query_width));
  return out;
}

FeedForwardScratch carve_feed_forward(Carver& carver, const Network& n, const PassSizes& sizes) {
  FeedForwardScratch out;
  out.normed =
      carver.take<float>((sizes.normed_bf16 ? std::min(kFewRows, sizes.ffn_rows) : sizes.ffn_rows) * n.width);
  if (sizes.normed_bf16) out.half_normed = carver.take<bf16_bits>(sizes.ffn_rows * n.width);
  if (sizes.summed) out.summed = carver.take<float>(sizes.ffn_rows * n.width);
  out.gate = carver.take<float>(sizes.inner);
  const std::size_t up = std::max(sizes.inner, sizes.chunk * n.width);
  out.up = {carver.take<float>(up), up};
  if (sizes.most_experts > 0) {
    out.gathered = carver.take<float>(sizes.chunk * n.width);
    out.router = carver.take<float>(sizes.ffn_rows * sizes.most_experts);
  }
  out.products = carve_products(carver, sizes.feed_forward, sizes.chunk, std::max(sizes.ffn_block, n.width));
  return out;
}

LogitsScratch carve_logits(Carver& carver, const Network& n, const PassRequest& request,
                           const PassSizes& sizes) {
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
void size_products(const Network& network, const PassRequest& request, const CpuOptions& options,
                   PassSizes& sizes) {
  const Products products(options.precision, options.prefill_activations, request.one_token_each);
  bool f32_rows = false;  // some product of the FFN wants its input in f32
  for (std::size_t i = 0; i < network.layers.size(); ++i) {
    const Layer& layer = network.layers[i];
    const LayerExtent extent = layer_extent(network, request, i);
    const std::size_t outputs = request.rows - extent.first_output;
    ProductSizes attention;
    const auto whole = [&](const MatrixView& m, std::size_t rows) {
      add_product(m, products.form(m, rows), m.rows, m.cols, attention);
    };
    const Attention& a = layer.attention;
    whole(a.query.weight, request.rows - extent.first_query);
    whole(a.key.weight, request.rows);
    whole(a.value.weight, request.rows);
    whole(a.output.weight, outputs);
    raise(sizes.attention, attention);

    const FeedForward& f = layer.feed_forward;
    const bool experts = f.spec.experts.count > 0;
    const auto add_ffn = [&](const FeedForwardWeights& w, std::size_t block) {
      ProductSizes phase;
      if (w.gate.weight.rows > 0)
        add_product(w.gate.weight, products.form(w.gate.weight, request.rows), block, network.width, phase);
      add_product(w.up.weight, products.form(w.up.weight, request.rows), block, network.width, phase);
      add_product(w.down.weight, products.form(w.down.weight, request.rows), network.width, block, phase);
      raise(sizes.feed_forward, phase);
      for (const MatrixView* m : {&w.gate.weight, &w.up.weight}) {
        f32_rows = f32_rows || (m->rows > 0 && products.form(*m, request.rows) == WeightForm::F32);
      }
    };
    if (experts) {
      for (const FeedForwardWeights& expert : f.experts) add_ffn(expert, f.spec.width);
    } else {
      add_ffn(f.dense, std::min(sizes.ffn_block, f.spec.width));
    }
  }
  sizes.normed_bf16 = !f32_rows && !sizes.few && sizes.most_experts == 0;
}

}  // namespace

// 24 bits would be the coarsest rounding beside products in f32, and nothing beside the others.
HiddenPrecision hidden_precision(const PassRequest& request, const CpuOptions& options) noexcept {
  return request.one_token_each || options.precision == Precision::F32 ? HiddenPrecision::F32
                                                                       : HiddenPrecision::F24;
}

LayerExtent layer_extent(const Network& network, const PassRequest& request, std::size_t layer) noexcept {
  if (request.one_token_each || request.all_logits || layer + 1 < network.layers.size()) return {};
  const std::size_t observation = request.all_queries ? request.rows : request.observation;
  return {.first_query = request.rows - std::min(request.rows, std::max<std::size_t>(observation, 1)),
          .first_output = request.rows - 1};
}

PassSizes pass_sizes(const Network& network, const PassRequest& request, const CpuOptions& options) {
  const std::size_t rows = request.rows;
  const std::size_t query_width = network.query_width();
  const std::size_t kv_width = network.kv_width();
  PassSizes s;
  s.few = request.one_token_each || rows <= kFewRows;
  s.chunk = request.one_token_each ? rows : std::min(rows, request.chunk);
  s.attention_a = s.chunk * std::max(network.width, query_width);
  s.attention_b = s.chunk * (s.few ? std::max(query_width + 2 * kv_width, network.width)
                                   : std::max({query_width, 2 * kv_width, network.width}));
  const std::size_t least = std::max(kFfnRows, rows / kFfnShare);
  s.ffn_rows = std::min(rows, (least + s.chunk - 1) / s.chunk * s.chunk);
  std::size_t dense = 0;
  for (const Layer& layer : network.layers) {
    const FeedForwardSpec& f = layer.feed_forward.spec;
    s.summed = s.summed || layer.feed_forward_post_norm || f.experts.count > 0;
    s.most_experts = std::max(s.most_experts, f.experts.count);
    s.any_rope = s.any_rope || layer.attention.spec.rope >= 0;
    if (f.experts.count == 0) {
      dense = std::max(dense, f.width);
    } else {
      s.inner = std::max(s.inner, s.chunk * f.width);
      if (s.few) s.inner = std::max(s.inner, f.experts.used * f.width);
      s.ffn_block = std::max(s.ffn_block, f.width);
    }
  }
  const std::size_t block = s.few ? dense : std::min(dense, kFfnBlock);
  s.ffn_block = std::max(s.ffn_block, block);
  // A last layer that computes few rows does so through all inner channels at once.
  s.inner = std::max({s.inner, s.chunk * block, std::min(s.chunk, kFewRows) * dense});
  s.hidden_bytes = HiddenStates::bytes(rows, network.width, hidden_precision(request, options));
  s.kv = request.one_token_each ? 0 : request.key_places() * kv_width;
  s.kv_bytes = options.precision == Precision::BF16 ? sizeof(bf16_bits) : sizeof(float);
  size_products(network, request, options, s);
  s.output_rows = request.one_token_each ? rows : 1;
  if (request.all_logits) {
    const std::size_t rows_within = kLogitsBytes / (sizeof(float) * network.vocabulary);
    s.output_rows = std::min(s.chunk, std::max<std::size_t>(rows_within, 16));
    const MatrixView& output = network.output.weight;
    const WeightForm form = weight_form(output, options.precision, options.prefill_activations, rows);
    s.output_block = network.vocabulary;
    if (!is_in_form(output, form)) {
      s.output_block = std::clamp<std::size_t>(kOutputBlockElements / network.width, 1, network.vocabulary);
    }
    add_product(output, form, s.output_block, network.width, s.output);
  }
  Carver attention;
  Carver feed_forward;
  Carver logits;
  static_cast<void>(carve_attention(attention, network, request, s));
  static_cast<void>(carve_feed_forward(feed_forward, network, s));
  static_cast<void>(carve_logits(logits, network, request, s));
  s.scratch_bytes = std::max({attention.used(), feed_forward.used(), logits.used()});
  return s;
}

PassMemory::PassMemory(const Network& network, const PassRequest& request, const PassSizes& sizes,
                       const CpuOptions& options, AllocationCounter* counter)
    : hidden(request.rows, network.width, hidden_precision(request, options), counter),
      scratch_(sizes.scratch_bytes, counter) {
  if (options.precision == Precision::BF16) {
    key_bf16 = AlignedBuffer<bf16_bits>(sizes.kv, counter);
    value_bf16 = AlignedBuffer<bf16_bits>(sizes.kv, counter);
  } else {
    key_f32 = AlignedBuffer<float>(sizes.kv, counter);
    value_f32 = AlignedBuffer<float>(sizes.kv, counter);
  }
  Carver for_attention(scratch_.data());
  Carver for_feed_forward(scratch_.data());
  Carver for_logits(scratch_.data());
  attention = carve_attention(for_attention, network, request, sizes);
  feed_forward = carve_feed_forward(for_feed_forward, network, sizes);
  logits = carve_logits(for_logits, network, request, sizes);
}

}  // namespace thinkey
