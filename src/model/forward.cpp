#include "model/forward.h"

#include <algorithm>
#include <utility>

#include "model/finite.h"
#include "model/work.h"

namespace thinkey {
namespace {

bool observes_all(const SequenceCache* cache) { return cache->observes_all_queries(); }

bool has_sinks(const Network& network) {
  return std::any_of(network.layers.begin(), network.layers.end(),
                     [](const Layer& layer) { return layer.attention.spec.sinks; });
}

// The rows of [rows] from `first` on.
Rows from(Rows rows, std::size_t first) {
  const std::size_t begin = std::min(rows.end(), std::max(rows.first, first));
  return {begin, rows.end() - begin};
}

}  // namespace

PassRequest prefill_request(const Decoder& decoder, std::size_t tokens,
                            std::span<const SequenceCache* const> caches, const PrefillOutputs& outputs) {
  const bool has_past = caches[0]->next_position(0) > 0;
  const bool all = !has_past && std::any_of(caches.begin(), caches.end(), observes_all);
  std::size_t observed = outputs.observer != nullptr ? outputs.observer->last_queries() : 0;
  for (const SequenceCache* cache : caches) observed = std::max(observed, cache->observed_queries(has_past));
  return {.rows = tokens,
          .chunk = decoder.chunk,
          .observation = observed,
          .has_past = has_past,
          .all_queries = all || outputs.observer != nullptr,
          .log_sums = has_past || all || has_sinks(decoder.network),
          .all_logits = static_cast<bool>(outputs.logits)};
}

PassRequest decode_request(const Decoder& decoder, std::size_t sequences) {
  return {
      .rows = sequences, .chunk = sequences, .one_token_each = true, .log_sums = has_sinks(decoder.network)};
}

Prefill::Prefill(const Decoder& decoder, std::span<const std::int32_t> tokens,
                 std::span<SequenceCache* const> caches, PrefillOutputs outputs)
    : network_(decoder.network),
      tokens_(tokens.begin(), tokens.end()),
      caches_(caches.begin(), caches.end()),
      outputs_(std::move(outputs)),
      check_finite_(decoder.check_finite),
      past_(static_cast<std::size_t>(caches[0]->next_position(0))),
      request_(prefill_request(decoder, tokens.size(), {caches.data(), caches.size()}, outputs_)),
      pass_(decoder.backend.pass(network_, request_, outputs_.counter)) {
  if (outputs_.observer != nullptr) {
    pass_->watch([this](const ProjectedRows& p) {
      outputs_.observer->attention_inputs({.layer = layer_,
                                           .first = p.rows.first,
                                           .tokens = p.rows.count,
                                           .rotated = p.rotated,
                                           .q = p.q,
                                           .k = p.k,
                                           .v = p.v});
    });
  }
  if (!outputs_.progress) return;
  for (std::size_t layer = 0; layer < network_.layers.size(); ++layer) {
    const LayerExtent extent = layer_extent(network_, request_, layer);
    for (at_ = 0; at_ < tokens_.size(); at_ += request_.chunk) {
      const Rows rows = chunk();
      total_ +=
          attention_work(network_, layer, rows.count, from(rows, extent.first_query).count,
                         from(rows, extent.first_output).count, static_cast<double>(past_ + rows.end()));
    }
    total_ += feed_forward_work(network_, layer, tokens_.size() - extent.first_output);
  }
  if (request_.all_logits) total_ += logits_work(network_, tokens_.size());
  at_ = 0;
}

Prefill::~Prefill() = default;

Rows Prefill::chunk() const noexcept { return {at_, std::min(request_.chunk, tokens_.size() - at_)}; }

bool Prefill::next_chunk() noexcept {
  at_ += request_.chunk;
  if (at_ < tokens_.size()) return true;
  at_ = 0;
  return false;
}

bool Prefill::advance() {
  switch (stage_) {
    case Stage::Embed:
      pass_->embed(chunk(), std::span(tokens_).subspan(at_, chunk().count));
      if (!next_chunk()) begin_layer();
      return true;
    case Stage::Attention:
      attention_chunk();
      if (!next_chunk()) stage_ = Stage::Store;
      return true;
    case Stage::Store:
      store();
      pass_->begin_feed_forward(layer_, extent_.first_output);
      stage_ = Stage::FeedForward;
      return true;
    case Stage::FeedForward: {
      double work = 0;
      const bool more = pass_->feed_forward_step(work);
      report(work);
      if (more) return true;
      if (++layer_ < network_.layers.size()) {
        begin_layer();
      } else {
        stage_ = Stage::Logits;
      }
      return true;
    }
    case Stage::Logits:
      logits_chunk();
      return true;
    case Stage::Done:
      break;
  }
  return false;
}

void Prefill::begin_layer() {
  extent_ = layer_extent(network_, request_, layer_);
  pass_->begin_attention(layer_, extent_);
  stage_ = Stage::Attention;
}

// hidden += attention of a chunk; the layer's keys and values stay in the pass.
void Prefill::attention_chunk() {
  const Rows rows = chunk();
  const auto length = static_cast<std::int64_t>(past_ + tokens_.size());
  positions_.clear();
  for (std::size_t i = 0; i < rows.count; ++i) {
    positions_.push_back({.position = static_cast<std::int64_t>(past_ + rows.first + i), .length = length});
  }
  const auto first = static_cast<std::int64_t>(past_ + rows.first);
  pass_->project(rows, positions_, [&](const float* k, const float* v) {
    if (check_finite_) {
      require_finite_attention("key", layer_, first, k, rows.count, network_.kv_width());
      require_finite_attention("value", layer_, first, v, rows.count, network_.kv_width());
    }
    pass_->keep(rows, k, v);
  });
  const Rows outputs = from(rows, extent_.first_output);
  if (outputs.count > 0) attend(outputs);
  observe(rows);
  if (outputs.count > 0) pass_->finish_attention(outputs);
  report(attention_work(network_, layer_, rows.count, from(rows, extent_.first_query).count, outputs.count,
                        static_cast<double>(past_ + rows.end())));
}

void Prefill::attend(Rows rows) {
  pass_->attend_prompt(rows);
  if (request_.has_past) {
    const float* q = pass_->queries() + (rows.first - at_) * network_.query_width();
    caches_[0]->attend(layer_, rows.count, static_cast<std::int64_t>(past_ + rows.first), q,
                       pass_->past_attended(), pass_->past_log_sums());
    pass_->join_past(rows.count);
  }
  pass_->join_sinks(rows.count);
}

// Shows the caches every query of the chunk, with what its attention already found out.
void Prefill::observe(Rows rows) {
  if (past_ > 0 || std::none_of(caches_.begin(), caches_.end(), observes_all)) return;
  const AttentionShape& shape = network_.layers[layer_].attention.spec.shape;
  const QueryRange queries{.q = pass_->queries(),
                           .token_stride = network_.query_width(),
                           .head_stride = shape.head_dim,
                           .first = rows.first,
                           .n = rows.count,
                           .lse = extent_.first_output <= rows.first ? pass_->log_sums() : nullptr,
                           .k = pass_->layer_keys(),
                           .capacity = tokens_.size()};
  for (SequenceCache* cache : caches_) {
    if (observes_all(cache)) cache->observe(layer_, queries);
  }
}

// The layer's keys and values into the cache: compressed as a prompt, or appended after the past.
void Prefill::store() {
  const AttentionShape& shape = network_.layers[layer_].attention.spec.shape;
  const std::size_t tokens = tokens_.size();
  const std::size_t observed = std::min(tokens, request_.observation);
  if (!request_.has_past) {
    const PromptView prompt{.tokens = tokens,
                            .q = pass_->observed_queries(),
                            .queries = observed,
                            .q_token_stride = network_.query_width(),
                            .q_head_stride = shape.head_dim,
                            .k = pass_->layer_keys(),
                            .v = pass_->layer_values(),
                            .capacity = tokens};
    for (SequenceCache* cache : caches_) cache->compress_prompt(layer_, prompt);
    if (outputs_.observer != nullptr) outputs_.observer->compressed(layer_, prompt);
    return;
  }
  SequenceCache& cache = *caches_[0];
  do {
    const Rows rows = chunk();
    pass_->gather(rows, [&](const float* k, const float* v) {
      cache.append(layer_, rows.count, k, v, network_.kv_width());
    });
  } while (next_chunk());
  cache.renew(layer_, observed, static_cast<std::int64_t>(past_ + tokens - observed),
              pass_->observed_queries(), true);
}

void Prefill::logits_chunk() {
  const std::size_t vocabulary = network_.vocabulary;
  const std::size_t total = tokens_.size();
  if (!request_.all_logits) {
    pass_->logits(Rows{total - 1, 1}, outputs_.last_logits.data());
    stage_ = Stage::Done;
    return;
  }
  const std::size_t n = std::min(pass_->logits_at_once(), total - at_);
  const float* logits = pass_->logits(Rows{at_, n});
  for (std::size_t i = 0; i < n; ++i) {
    outputs_.logits(static_cast<std::int64_t>(at_ + i), {logits + i * vocabulary, vocabulary});
  }
  at_ += n;
  if (at_ == total) {
    std::copy_n(logits + (n - 1) * vocabulary, vocabulary, outputs_.last_logits.data());
    stage_ = Stage::Done;
  }
  report(logits_work(network_, n));
}

void Prefill::report(double work) {
  if (!outputs_.progress) return;
  done_ += work;
  outputs_.progress(std::min(done_, total_), total_);
}

void prefill(const Decoder& decoder, std::span<const std::int32_t> tokens,
             std::span<SequenceCache* const> caches, const PrefillOutputs& outputs) {
  Prefill run(decoder, tokens, caches, outputs);
  while (run.advance()) {
  }
}

void decode(const Decoder& decoder, std::span<const DecodeInput> batch, Pass& pass, float* logits) {
  const Network& network = decoder.network;
  const std::size_t query_width = network.query_width();
  const std::size_t kv_width = network.kv_width();
  const std::size_t heads = network.heads().query_heads;
  const Rows rows{0, batch.size()};
  std::vector<std::int32_t> tokens;
  std::vector<RowPosition> positions;
  std::vector<TokenAttention> tokens_of_batch;
  for (const DecodeInput& input : batch) {
    const std::int64_t position = input.cache->next_position(0);
    tokens.push_back(input.token);
    positions.push_back({.position = position, .length = position + 1});
  }
  pass.embed(rows, tokens);
  for (std::size_t layer = 0; layer < network.layers.size(); ++layer) {
    pass.begin_attention(layer, {});
    pass.project(rows, positions, [&](const float* k, const float* v) {
      for (std::size_t b = 0; b < batch.size(); ++b) {
        require_finite_attention("key", layer, positions[b].position, k + b * kv_width, 1, kv_width);
        require_finite_attention("value", layer, positions[b].position, v + b * kv_width, 1, kv_width);
        batch[b].cache->append(layer, 1, k + b * kv_width, v + b * kv_width, kv_width);
      }
    });
    float* attended = pass.attended();
    float* log_sums = pass.log_sums();
    tokens_of_batch.clear();
    for (std::size_t b = 0; b < batch.size(); ++b) {
      const float* query = pass.queries() + b * query_width;
      require_finite_attention("query", layer, positions[b].position, query, 1, query_width);
      tokens_of_batch.push_back({.store = &batch[b].cache->layer(layer).store(),
                                 .position = positions[b].position,
                                 .q = query,
                                 .out = attended + b * query_width,
                                 .lse = log_sums == nullptr ? nullptr : log_sums + b * heads});
    }
    if (batch.size() == 1) {
      const TokenAttention& only = tokens_of_batch[0];
      only.store->attend(1, only.position, only.q, only.out, only.lse);
    } else {
      SequenceCache::attend_together(tokens_of_batch);
    }
    for (std::size_t b = 0; b < batch.size(); ++b) {
      batch[b].cache->renew(layer, 1, positions[b].position, tokens_of_batch[b].q, false);
    }
    pass.join_sinks(batch.size());
    pass.finish_attention(rows);
    pass.begin_feed_forward(layer, 0);
    for (double work = 0; pass.feed_forward_step(work);) {
    }
  }
  pass.logits(rows, logits);
}

}  // namespace thinkey
