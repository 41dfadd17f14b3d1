// Layer-major prefill: the whole prompt through one layer before the next one starts.
#include <algorithm>

#include "base/parallel.h"
#include "model/chunk_products.h"
#include "model/decoder.h"
#include "model/finite.h"
#include "ops/activation.h"
#include "ops/convert.h"
#include "ops/dequantize.h"
#include "ops/matvec.h"
#include "ops/norm.h"
#include "ops/prefill_attention.h"
#include "ops/rope.h"

namespace thinkey {
namespace {

// Tokens [begin, end) of the prompt.
struct Chunk {
  std::size_t begin, end;
  [[nodiscard]] std::size_t tokens() const noexcept { return end - begin; }
};

class Prefill {
 public:
  Prefill(const Decoder& decoder, std::span<const std::int32_t> tokens,
          std::span<SequenceCache* const> caches, const PrefillOutputs& outputs)
      : config_(decoder.config),
        weights_(decoder.weights),
        caches_(caches),
        outputs_(outputs),
        tokens_(tokens),
        past_(static_cast<std::size_t>(caches[0]->next_position(0))),
        request_{.tokens = tokens.size(),
                 .chunk = decoder.chunk,
                 .observation = observation(),
                 .has_past = past_ > 0,
                 .observes_all = past_ == 0 && std::any_of(caches.begin(), caches.end(), observes_all),
                 .all_queries = outputs.observer != nullptr,
                 .all_logits = static_cast<bool>(outputs.logits),
                 .precision = decoder.precision,
                 .activations = decoder.prefill_activations},
        sizes_(prefill_sizes(config_, weights_, request_)),
        state_(config_, request_, sizes_, outputs.counter),
        activations_(decoder.prefill_activations),
        products_(decoder.precision, decoder.prefill_activations),
        check_finite_(decoder.check_finite) {}

  void run() {
    total_work_ = total_work();
    embed();
    if (check_finite_) check(-1, 0);
    for (std::size_t layer = 0; layer < weights_.layers.size(); ++layer) {
      const LayerExtent extent = layer_extent(config_, request_, layer);
      attention(layer, extent);
      store(layer);
      feed_forward(layer, extent);
      if (check_finite_) check(static_cast<std::int64_t>(layer), extent.first_output);
    }
    if (request_.all_logits) {
      all_logits();
    } else {
      last_logits();
    }
  }

 private:
  static bool observes_all(const SequenceCache* cache) { return cache->observes_all_queries(); }
  [[nodiscard]] std::size_t observation() const {
    std::size_t most = outputs_.observer != nullptr ? outputs_.observer->last_queries() : 0;
    for (const SequenceCache* cache : caches_) most = std::max(most, cache->observed_queries(past_ > 0));
    return most;
  }

  void embed() {
    const MatrixView& table = weights_.token_embedding;
    float* rows = state_.attention.normed;
    for_each_chunk(0, tokens_.size(), [&](const Chunk& chunk) {
      parallel_for(chunk.tokens(), [&](std::size_t t) {
        widen_row(table.type, table.row(tokens_[chunk.begin + t]), width_, rows + t * width_);
      });
      state_.hidden.store(chunk.begin, chunk.tokens(), rows);
    });
  }

  // The hidden states of the tokens from `first` on; its scratch is free between layers.
  void check(std::int64_t layer, std::size_t first) const {
    float* rows = state_.attention.normed;
    for_each_chunk(first, tokens_.size(), [&](const Chunk& chunk) {
      state_.hidden.load(chunk.begin, chunk.tokens(), rows);
      require_finite_layer(layer, static_cast<std::int64_t>(past_ + chunk.begin), rows, chunk.tokens(),
                           width_);
    });
  }

  // RMSNorm of the hidden states of `n` tokens.
  void norm(std::size_t first, std::size_t n, const AlignedBuffer<float>& weight, float* out) const {
    state_.hidden.load(first, n, out);
    rms_norm(out, weight.data(), config_.rms_epsilon, n, width_, out);
  }

  // hidden += attention of every chunk; leaves the layer's keys and values in the state.
  void attention(std::size_t layer, const LayerExtent& extent) {
    const LayerWeights& w = weights_.layers[layer];
    const std::size_t tokens = tokens_.size();
    const AttentionScratch& s = state_.attention;
    products_.start_phase(s.products);
    const ReadyMatrix query = products_.ready(w.query, tokens - extent.first_query);
    const ReadyMatrix key = products_.ready(w.key, tokens);
    const ReadyMatrix value = products_.ready(w.value, tokens);
    const ReadyMatrix output = products_.ready(w.attention_output, tokens - extent.first_output);

    for_each_chunk(0, tokens, [&](const Chunk& chunk) {
      state_.angles.move_to(config_.rope_inverse_frequencies, static_cast<std::int64_t>(past_ + chunk.begin),
                            chunk.tokens());
      norm(chunk.begin, chunk.tokens(), w.attention_norm, s.normed);
      products_.set_input(s.normed, chunk.tokens(), width_);
      products_.multiply(key, s.key_rows, kv_width_);
      products_.multiply(value, s.value_rows, kv_width_);
      show(layer, chunk, {.rotated = false, .k = s.key_rows, .v = s.value_rows});
      rope(pairs_, state_.angles, chunk.tokens(), kv_heads_, kv_width_, s.key_rows);
      show(layer, chunk, {.rotated = true, .k = s.key_rows, .v = s.value_rows});
      keep(chunk, s.key_rows, state_.key_f32, state_.key_bf16);
      keep(chunk, s.value_rows, state_.value_f32, state_.value_bf16);

      if (chunk.end > extent.first_query) {
        // Rotated from the chunk's first token on, so that its angles fit.
        const std::size_t skipped = std::max(chunk.begin, extent.first_query) - chunk.begin;
        if (skipped > 0) {
          products_.set_input(s.normed + skipped * width_, chunk.tokens() - skipped, width_);
          std::fill_n(s.query, skipped * query_width_, 0.0F);
        }
        products_.multiply(query, s.query + skipped * query_width_, query_width_);
        show(layer, chunk, {.rotated = false, .q = s.query});
        rope(pairs_, state_.angles, chunk.tokens(), heads_, query_width_, s.query);
        show(layer, chunk, {.rotated = true, .q = s.query});
        keep_observed(chunk);
      }
      const std::size_t first = std::min(chunk.end, std::max(chunk.begin, extent.first_output));
      const std::size_t outputs = chunk.end - first;
      if (outputs > 0) attend(layer, first, outputs, s.query + (first - chunk.begin) * query_width_);
      if (request_.observes_all) observe(layer, chunk, extent);
      if (outputs > 0) {
        products_.set_input(s.attended, outputs, query_width_);
        products_.multiply(output, s.projected, width_);
        state_.hidden.add(first, outputs, s.projected);
      }
      report(attention_work(chunk, extent));
    });
  }

  void show(std::size_t layer, const Chunk& chunk, AttentionInputs inputs) const {
    if (outputs_.observer == nullptr) return;
    inputs.layer = layer;
    inputs.first = chunk.begin;
    inputs.tokens = chunk.tokens();
    outputs_.observer->attention_inputs(inputs);
  }

  // attended [n, H, D] for queries q of the tokens first .. first + n - 1.
  void attend(std::size_t layer, std::size_t first, std::size_t n, const float* q) {
    const PrefillAttention shape{.query_heads = heads_,
                                 .kv_heads = kv_heads_,
                                 .head_dim = head_dim_,
                                 .queries = n,
                                 .keys = first + n,
                                 .key_capacity = tokens_.size(),
                                 .sliding_window = static_cast<std::size_t>(config_.sliding_window)};
    const AttentionScratch& s = state_.attention;  // its lse is null when nobody needs it
    if (request_.precision == Precision::BF16) {
      prefill_attention(shape, q, state_.key_bf16.data(), state_.value_bf16.data(), s.attended, s.lse);
    } else {
      prefill_attention(shape, q, state_.key_f32.data(), state_.value_f32.data(), s.attended, s.lse);
    }
    if (!request_.has_past) return;
    caches_[0]->attend(layer, n, static_cast<std::int64_t>(past_ + first), q, s.past, s.past_lse);
    merge_attention(n * heads_, head_dim_, s.attended, s.lse, s.past, s.past_lse);
  }

  // Shows the cache every query of the chunk, with what its attention already found out.
  void observe(std::size_t layer, const Chunk& chunk, const LayerExtent& extent) {
    const QueryRange queries{.q = state_.attention.query,
                             .token_stride = query_width_,
                             .head_stride = head_dim_,
                             .first = chunk.begin,
                             .n = chunk.tokens(),
                             .lse = extent.first_output <= chunk.begin ? state_.attention.lse : nullptr,
                             .k = state_.key(),
                             .capacity = tokens_.size()};
    for (SequenceCache* cache : caches_) {
      if (observes_all(cache)) cache->observe(layer, queries);
    }
  }

  // The layer's keys and values into the cache: compressed as a prompt, or appended after the past.
  void store(std::size_t layer) {
    if (!request_.has_past) {
      const PromptView prompt{.tokens = tokens_.size(),
                              .q = state_.attention.observed,
                              .queries = std::min(tokens_.size(), request_.observation),
                              .q_token_stride = query_width_,
                              .q_head_stride = head_dim_,
                              .k = state_.key(),
                              .v = state_.value(),
                              .capacity = tokens_.size()};
      for (SequenceCache* cache : caches_) cache->compress_prompt(layer, prompt);
      if (outputs_.observer != nullptr) outputs_.observer->compressed(layer, prompt);
      return;
    }
    SequenceCache& cache = *caches_[0];
    const AttentionScratch& s = state_.attention;
    for_each_chunk(0, tokens_.size(), [&](const Chunk& chunk) {
      gather(chunk, state_.key(), s.key_rows);
      gather(chunk, state_.value(), s.value_rows);
      cache.append(layer, chunk.tokens(), s.key_rows, s.value_rows, kv_width_);
    });
    const std::size_t observed = std::min(tokens_.size(), request_.observation);
    cache.renew(layer, observed, static_cast<std::int64_t>(past_ + tokens_.size() - observed), s.observed,
                true);
  }

  // hidden += FFN. Some thousand tokens at a time go through the inner channels block by block, so that
  // few weights are wide at once; their normed rows are kept for that, since `hidden` changes meanwhile.
  void feed_forward(std::size_t layer, const LayerExtent& extent) {
    const LayerWeights& w = weights_.layers[layer];
    const FeedForwardScratch& s = state_.feed_forward;
    const std::size_t outputs = tokens_.size() - extent.first_output;
    const std::size_t block_size = outputs <= kFewRows ? ffn_width_ : sizes_.ffn_block;

    for (std::size_t begin = extent.first_output; begin < tokens_.size(); begin += sizes_.ffn_rows) {
      const std::size_t end = std::min(begin + sizes_.ffn_rows, tokens_.size());
      const bool kept_half = s.half_normed != nullptr && outputs > kFewRows;
      for_each_chunk(begin, end, [&](const Chunk& chunk) {
        float* normed = kept_half ? s.rows : s.normed + (chunk.begin - begin) * width_;
        norm(chunk.begin, chunk.tokens(), w.ffn_norm, normed);
        if (kept_half) {
          parallel_for(chunk.tokens(), [&](std::size_t t) {
            f32_to_bf16(normed + t * width_, width_, s.half_normed + (chunk.begin - begin + t) * width_);
          });
        }
      });
      for (std::size_t block = 0; block < ffn_width_; block += block_size) {
        const std::size_t inner = std::min(block_size, ffn_width_ - block);
        products_.start_phase(s.products);
        const ReadyMatrix gate = products_.ready(w.gate.some_rows(block, inner), outputs);
        const ReadyMatrix up = products_.ready(w.up.some_rows(block, inner), outputs);
        const ReadyMatrix down = products_.ready_columns(w.down, block, inner, outputs);
        for_each_chunk(begin, end, [&](const Chunk& chunk) {
          const std::size_t row = (chunk.begin - begin) * width_;
          if (kept_half) {
            products_.set_input(s.half_normed + row, chunk.tokens(), width_);
          } else {
            products_.set_input(s.normed + row, chunk.tokens(), width_);
          }
          products_.multiply(gate, s.gate, inner);
          products_.multiply(up, s.up, inner);
          swiglu(s.gate, s.up, chunk.tokens() * inner, s.gate);
          products_.set_input(s.gate, chunk.tokens(), inner);
          products_.multiply(down, s.rows, width_);
          state_.hidden.add(chunk.begin, chunk.tokens(), s.rows);
          report(feed_forward_work(chunk.tokens(), inner));
        });
      }
    }
  }

  void last_logits() {
    float* normed = state_.logits.normed;
    norm(tokens_.size() - 1, 1, weights_.output_norm, normed);
    matvec(weights_.output, normed, 1, outputs_.last_logits.data(), activations_);
  }

  // [output_rows, V] at a time; where the output matrix has to be widened, a block of it at a time.
  void all_logits() {
    const LogitsScratch& s = state_.logits;
    const std::size_t vocabulary = outputs_.last_logits.size();
    const std::size_t total = tokens_.size();
    for (std::size_t first = 0; first < total; first += sizes_.output_rows) {
      const std::size_t n = std::min(sizes_.output_rows, total - first);
      norm(first, n, weights_.output_norm, s.normed);
      products_.set_input(s.normed, n, width_);
      for (std::size_t row = 0; row < vocabulary; row += sizes_.output_block) {
        products_.start_phase(s.products);
        const MatrixView block =
            weights_.output.some_rows(row, std::min(sizes_.output_block, vocabulary - row));
        products_.multiply(products_.ready(block, total), s.logits + row, vocabulary);
      }
      for (std::size_t i = 0; i < n; ++i) {
        outputs_.logits(static_cast<std::int64_t>(first + i), {s.logits + i * vocabulary, vocabulary});
      }
      if (first + n == total) {
        std::copy_n(s.logits + (n - 1) * vocabulary, vocabulary, outputs_.last_logits.data());
      }
      report(static_cast<double>(n) * static_cast<double>(vocabulary * width_));
    }
  }

  template <typename Body>
  void for_each_chunk(std::size_t begin, std::size_t end, const Body& body) const {
    for (; begin < end; begin += request_.chunk) body(Chunk{begin, std::min(begin + request_.chunk, end)});
  }

  // Rows [n, Hkv, D] of a chunk into the layer's [Hkv, T, D], in its type.
  void keep(const Chunk& chunk, const float* rows, AlignedBuffer<float>& f32,
            AlignedBuffer<bf16_bits>& bf16) {
    for_each_head_row(chunk, [&](std::size_t row, std::size_t place) {
      if (f32.size() > 0) {
        std::copy_n(rows + row, head_dim_, f32.data() + place);
      } else {
        f32_to_bf16(rows + row, head_dim_, bf16.data() + place);
      }
    });
  }
  // And back.
  void gather(const Chunk& chunk, TokenRows layer, float* rows) const {
    for_each_head_row(chunk, [&](std::size_t row, std::size_t place) {
      const float* from = (layer + place).load(head_dim_, rows + row);
      if (from != rows + row) std::copy_n(from, head_dim_, rows + row);
    });
  }
  template <typename Body>
  void for_each_head_row(const Chunk& chunk, const Body& body) const {
    parallel_for(kv_heads_, [&](std::size_t head) {
      for (std::size_t t = 0; t < chunk.tokens(); ++t) {
        body((t * kv_heads_ + head) * head_dim_, (head * tokens_.size() + chunk.begin + t) * head_dim_);
      }
    });
  }

  // Keeps those of the chunk's queries that belong to the observation window.
  void keep_observed(const Chunk& chunk) {
    float* observed = state_.attention.observed;
    if (observed == nullptr) return;
    const std::size_t window = tokens_.size() - std::min(tokens_.size(), request_.observation);
    if (chunk.end <= window) return;
    const std::size_t first = std::max(chunk.begin, window);
    std::copy_n(state_.attention.query + (first - chunk.begin) * query_width_,
                (chunk.end - first) * query_width_, observed + (first - window) * query_width_);
  }

  // Multiply-adds of a chunk; keys in the cache count as if none had been evicted.
  [[nodiscard]] double attention_work(const Chunk& chunk, const LayerExtent& extent) const noexcept {
    const auto from = [&](std::size_t first) {
      return static_cast<double>(chunk.end - std::min(chunk.end, std::max(chunk.begin, first)));
    };
    const double keys = static_cast<double>(past_) + static_cast<double>(chunk.begin + chunk.end) / 2;
    return static_cast<double>(width_) * (static_cast<double>(2 * kv_width_ * chunk.tokens()) +
                                          static_cast<double>(query_width_) * from(extent.first_query)) +
           static_cast<double>(query_width_) * (static_cast<double>(width_) + 2 * keys) *
               from(extent.first_output);
  }
  [[nodiscard]] double feed_forward_work(std::size_t n, std::size_t inner) const noexcept {
    return static_cast<double>(n) * 3 * static_cast<double>(width_ * inner);
  }
  [[nodiscard]] double total_work() const {
    if (!outputs_.progress) return 0;
    double total = 0;
    for (std::size_t layer = 0; layer < weights_.layers.size(); ++layer) {
      const LayerExtent extent = layer_extent(config_, request_, layer);
      for_each_chunk(0, tokens_.size(), [&](const Chunk& chunk) { total += attention_work(chunk, extent); });
      total += feed_forward_work(tokens_.size() - extent.first_output, ffn_width_);
    }
    if (request_.all_logits) {
      total +=
          static_cast<double>(tokens_.size()) * static_cast<double>(outputs_.last_logits.size() * width_);
    }
    return total;
  }
  void report(double work) {
    if (!outputs_.progress) return;
    done_ += work;
    outputs_.progress(std::min(done_, total_work_), total_work_);
  }

  const Config& config_;
  const Weights& weights_;
  std::span<SequenceCache* const> caches_;  // one, or several that are empty
  const PrefillOutputs& outputs_;
  std::span<const std::int32_t> tokens_;
  std::size_t past_;  // positions before this call's first token
  PrefillRequest request_;
  PrefillSizes sizes_;
  PrefillState state_;
  ActivationPrecision activations_;  // of products straight from the file's types
  ChunkProducts products_;
  bool check_finite_;

  std::size_t width_ = static_cast<std::size_t>(config_.width);
  std::size_t heads_ = static_cast<std::size_t>(config_.query_heads);
  std::size_t kv_heads_ = static_cast<std::size_t>(config_.kv_heads);
  std::size_t head_dim_ = static_cast<std::size_t>(config_.head_dim);
  std::size_t query_width_ = heads_ * head_dim_;
  std::size_t kv_width_ = kv_heads_ * head_dim_;
  std::size_t ffn_width_ = static_cast<std::size_t>(config_.ffn_width);
  RopePairs pairs_ =
      config_.rope_layout == RopeLayout::Interleaved ? RopePairs::Interleaved : RopePairs::HalfSplit;

  double done_ = 0;
  double total_work_ = 0;
};

}  // namespace

void prefill(const Decoder& decoder, std::span<const std::int32_t> tokens,
             std::span<SequenceCache* const> caches, const PrefillOutputs& outputs) {
  Prefill(decoder, tokens, caches, outputs).run();
}

}  // namespace thinkey
