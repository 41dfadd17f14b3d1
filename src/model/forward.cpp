#include "model/forward.h"

#include <algorithm>
#include <utility>

#include "model/finite.h"
#include "model/work.h"

namespace thinkey {
namespace {

bool observes_all(const SequenceCache* cache) { return cache->observes_all_queries(); }

std::size_t replayed_tokens(const std::vector<Replay>& replays) {
  std::size_t tokens = 0;
  for (const Replay& replay : replays) tokens += replay.tokens.size();
  return tokens;
}

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
  const bool replays = !outputs.replays.empty();
  std::size_t longest = 0;
  for (const Replay& replay : outputs.replays) longest = std::max(longest, replay.tokens.size());
  return {.rows = replayed_tokens(outputs.replays) + tokens,
          .chunk = decoder.chunk,
          .observation = std::min(observed, tokens),
          .has_past = has_past,
          .all_queries = all || replays || outputs.observer != nullptr,
          .log_sums = has_past || all || has_sinks(decoder.network),
          .all_logits = static_cast<bool>(outputs.logits),
          .keys = replays ? tokens + longest : 0,
          .input_norms = replays};
}

PassRequest decode_request(const Decoder& decoder, std::size_t sequences) {
  return {
      .rows = sequences, .chunk = sequences, .one_token_each = true, .log_sums = has_sinks(decoder.network)};
}

Prefill::Prefill(const Decoder& decoder, std::span<const std::int32_t> tokens,
                 std::span<SequenceCache* const> caches, PrefillOutputs outputs)
    : network_(decoder.network),
      caches_(caches.begin(), caches.end()),
      outputs_(std::move(outputs)),
      check_finite_(decoder.check_finite),
      past_(static_cast<std::size_t>(caches[0]->next_position(0))),
      request_(prefill_request(decoder, tokens.size(), {caches.data(), caches.size()}, outputs_)),
      pass_(decoder.backend.pass(network_, request_, outputs_.counter)) {
  for (const Replay& replay : outputs_.replays) {
    tokens_.insert(tokens_.end(), replay.tokens.begin(), replay.tokens.end());
  }
  prompt_first_ = tokens_.size();
  tokens_.insert(tokens_.end(), tokens.begin(), tokens.end());
  cut();
  if (outputs_.observer != nullptr) {
    pass_->watch([this](const ProjectedRows& p) {
      if (p.rows.first < prompt_first_) return;
      outputs_.observer->attention_inputs({.layer = layer_,
                                           .first = p.rows.first - prompt_first_,
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
    for (const Chunk& c : chunks_) {
      total_ += attention_work(network_, layer, c.rows.count, from(c.rows, extent.first_query).count,
                               from(c.rows, extent.first_output).count,
                               static_cast<double>(past_ + c.place + c.rows.count));
    }
    total_ += feed_forward_work(network_, layer, tokens_.size() - extent.first_output);
  }
  if (request_.all_logits) total_ += logits_work(network_, tokens_.size() - prompt_first_);
}

Prefill::~Prefill() = default;

void Prefill::cut() {
  const std::size_t prompt = tokens_.size() - prompt_first_;
  const auto add = [&](std::size_t first, std::size_t count, std::size_t place, const Replay* replay) {
    for (std::size_t at = 0; at < count; at += request_.chunk) {
      chunks_.push_back({.rows = {first + at, std::min(request_.chunk, count - at)},
                         .place = place + at,
                         .replay = replay});
    }
  };
  add(prompt_first_, prompt, 0, nullptr);
  std::size_t first = 0;
  for (const Replay& replay : outputs_.replays) {
    add(first, replay.tokens.size(), prompt, &replay);
    first += replay.tokens.size();
  }
}

bool Prefill::next_chunk() noexcept {
  if (++at_ < chunks_.size()) return true;
  at_ = 0;
  return false;
}

Prefill::Step Prefill::next_step() const noexcept {
  switch (stage_) {
    case Stage::Embed:
      return Step::Embed;
    case Stage::Attention:
      return !projected_ ? Step::Project : Step::Attend;
    case Stage::Store:
      return Step::Store;
    case Stage::FeedForward:
      return Step::FeedForward;
    case Stage::Logits:
    case Stage::Done:
      break;
  }
  return Step::Logits;
}

bool Prefill::advance(double most) {
  switch (stage_) {
    case Stage::Embed:
      pass_->embed(chunk().rows, std::span(tokens_).subspan(chunk().rows.first, chunk().rows.count));
      if (!next_chunk()) begin_layer();
      return true;
    case Stage::Attention:
      if (!attention_step(most) && !next_chunk()) stage_ = Stage::Store;
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
        at_ = prompt_first_;
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
bool Prefill::attention_step(double most) {
  const Rows rows = chunk().rows;
  const Rows outputs = from(rows, extent_.first_output);
  if (!projected_) {
    project();
    if (most < std::numeric_limits<double>::infinity()) return true;
  }
  if (!attended_) {
    if (outputs.count > 0 && pass_->attend_prompt(outputs, chunk().place + rows.count, most)) return true;
    attended_ = true;
    if (request_.has_past && most < std::numeric_limits<double>::infinity()) return true;
  }
  if (request_.has_past && past_attended_ < outputs.count) {
    attend_past(outputs, most);
    if (past_attended_ < outputs.count) return true;
  }
  if (outputs.count > 0) {
    if (request_.has_past) pass_->join_past(outputs.count);
    pass_->join_sinks(outputs.count);
  }
  observe();
  if (outputs.count > 0) pass_->finish_attention(outputs);
  report(attention_work(network_, layer_, rows.count, from(rows, extent_.first_query).count, outputs.count,
                        static_cast<double>(past_ + chunk().place + rows.count)));
  projected_ = attended_ = false;
  past_attended_ = 0;
  return false;
}

void Prefill::project() {
  const Rows rows = chunk().rows;
  // A replay's rotation is the prompt's, whose keys it looks at.
  const std::size_t length = past_ + tokens_.size() - prompt_first_;
  const auto first = static_cast<std::int64_t>(past_ + chunk().place);
  positions_.clear();
  for (std::size_t i = 0; i < rows.count; ++i) {
    positions_.push_back({.position = first + static_cast<std::int64_t>(i), .length = length});
  }
  pass_->project(rows, positions_, [&](const float* k, const float* v) {
    if (check_finite_) {
      require_finite_attention("key", layer_, first, k, rows.count, network_.kv_width());
      require_finite_attention("value", layer_, first, v, rows.count, network_.kv_width());
    }
    pass_->keep(rows, chunk().place, k, v);
  });
  projected_ = true;
}

// Some of the rows, to the cached past.
void Prefill::attend_past(Rows rows, double most) {
  // A cache attends with some rows at a time; cut at multiples of so many, all get bit by bit the same. One
  // row alone would not.
  constexpr std::size_t kRows = 16;
  const std::size_t width = network_.query_width();
  const double affordable = most / (2.0 * static_cast<double>(past_ * width));
  std::size_t n = rows.count - past_attended_;
  if (affordable < static_cast<double>(n)) {
    const std::size_t some = std::max<std::size_t>(1, static_cast<std::size_t>(affordable) / kRows) * kRows;
    if (some + 1 < n) n = some;
  }
  const std::size_t skipped = rows.first + past_attended_ - chunk().rows.first;
  caches_[0]->attend(layer_, n, static_cast<std::int64_t>(past_ + chunk().place + skipped),
                     pass_->queries() + skipped * width, pass_->past_attended() + past_attended_ * width,
                     pass_->past_log_sums() + past_attended_ * network_.heads().query_heads);
  past_attended_ += n;
}

// Shows the caches every query of the chunk, with what its attention already found out.
void Prefill::observe() {
  const Rows rows = chunk().rows;
  const Replay* replay = chunk().replay;
  if (past_ > 0) return;
  if (replay == nullptr && std::none_of(caches_.begin(), caches_.end(), observes_all)) return;
  const AttentionShape& shape = network_.layers[layer_].attention.spec.shape;
  const std::size_t prompt = tokens_.size() - prompt_first_;
  const QueryRange queries{.q = pass_->queries(),
                           .token_stride = network_.query_width(),
                           .head_stride = shape.head_dim,
                           .first = chunk().place,
                           .n = rows.count,
                           .lse = extent_.first_output <= rows.first ? pass_->log_sums() : nullptr,
                           .k = pass_->layer_keys(),
                           .capacity = request_.key_places(),
                           .tokens = prompt};
  for (SequenceCache* cache : caches_) {
    if (replay == nullptr && observes_all(cache)) cache->observe(layer_, queries);
    if (replay != nullptr && cache->wants_replay()) {
      cache->replay(layer_, {.queries = queries,
                             .begin = replay->part.first,
                             .end = replay->part.end(),
                             .own_first = prompt,
                             .input_norms = pass_->input_norms().data()});
    }
  }
}

// The layer's keys and values into the cache: compressed as a prompt, or appended after the past.
void Prefill::store() {
  const AttentionShape& shape = network_.layers[layer_].attention.spec.shape;
  const std::size_t tokens = tokens_.size() - prompt_first_;
  const std::size_t observed = std::min(tokens, request_.observation);
  if (!request_.has_past) {
    const PromptView prompt{.tokens = tokens,
                            .q = pass_->observed_queries(),
                            .queries = observed,
                            .q_token_stride = network_.query_width(),
                            .q_head_stride = shape.head_dim,
                            .k = pass_->layer_keys(),
                            .v = pass_->layer_values(),
                            .capacity = request_.key_places(),
                            .residual = network_.layers[layer_].attention_post_norm
                                            ? 0.0
                                            : pass_->hidden_energy({tokens_.size() - observed, observed})};
    for (SequenceCache* cache : caches_) cache->compress_prompt(layer_, prompt);
    if (outputs_.observer != nullptr) outputs_.observer->compressed(layer_, prompt);
    return;
  }
  SequenceCache& cache = *caches_[0];
  do {
    const Rows rows = chunk().rows;
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
    outputs_.logits(at_ - prompt_first_ + i, {logits + i * vocabulary, vocabulary});
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

namespace {

// What the attention of a layer's rows, of one decode step, works on.
struct StepRows {
  std::size_t layer;
  std::span<const RowPosition> positions;
  const float *k, *v;  // [n, Hkv, D]
};

void require_finite_rows(const char* what, const StepRows& rows, const float* x, std::size_t width) {
  for (std::size_t r = 0; r < rows.positions.size(); ++r) {
    require_finite_attention(what, rows.layer, rows.positions[r].position, x + r * width, 1, width);
  }
}

// A decode step: store(rows) is shown keys and values, attend(rows, queries, out, lse) fills out [n, H, D]
// and lse [n, H] (or null); then rows.k and rows.v are gone.
template <typename Store, typename Attend>
void run_step(const Decoder& decoder, std::span<const std::int32_t> tokens,
              std::span<const RowPosition> positions, Pass& pass, float* logits, const Store& store,
              const Attend& attend) {
  const Network& network = decoder.network;
  const Rows rows{0, tokens.size()};
  pass.embed(rows, tokens);
  for (std::size_t layer = 0; layer < network.layers.size(); ++layer) {
    pass.begin_attention(layer, {});
    pass.project(rows, positions, [&](const float* k, const float* v) {
      const StepRows step{.layer = layer, .positions = positions, .k = k, .v = v};
      require_finite_rows("key", step, k, network.kv_width());
      require_finite_rows("value", step, v, network.kv_width());
      store(step);
    });
    const StepRows step{.layer = layer, .positions = positions, .k = nullptr, .v = nullptr};
    require_finite_rows("query", step, pass.queries(), network.query_width());
    float* attended = pass.attended();
    attend(step, pass.queries(), attended, pass.log_sums());
    pass.join_sinks(rows.count);
    pass.finish_attention(rows);
    pass.begin_feed_forward(layer, 0);
    for (double work = 0; pass.feed_forward_step(work);) {
    }
  }
  pass.logits(rows, logits);
}

}  // namespace

void decode(const Decoder& decoder, std::span<const DecodeInput> batch, Pass& pass, float* logits) {
  const Network& network = decoder.network;
  const std::size_t kv_width = network.kv_width();
  const std::size_t heads = network.heads().query_heads;
  std::vector<std::int32_t> tokens;
  std::vector<RowPosition> positions;
  for (const DecodeInput& input : batch) {
    const std::int64_t position = input.cache->next_position(0);
    tokens.push_back(input.token);
    positions.push_back({.position = position, .length = static_cast<std::size_t>(position + 1)});
  }
  const auto store = [&](const StepRows& rows) {
    for (std::size_t b = 0; b < batch.size(); ++b) {
      batch[b].cache->append(rows.layer, 1, rows.k + b * kv_width, rows.v + b * kv_width, kv_width);
    }
  };
  std::vector<TokenAttention> attention;
  const auto attend = [&](const StepRows& rows, const float* queries, float* out, float* lse) {
    attention.clear();
    for (std::size_t b = 0; b < batch.size(); ++b) {
      attention.push_back({.store = &batch[b].cache->layer(rows.layer).store(),
                           .position = positions[b].position,
                           .q = queries + b * network.query_width(),
                           .out = out + b * network.query_width(),
                           .lse = lse == nullptr ? nullptr : lse + b * heads});
    }
    if (batch.size() == 1) {
      const TokenAttention& only = attention[0];
      only.store->attend(1, only.position, only.q, only.out, only.lse);
    } else {
      SequenceCache::attend_together(attention);
    }
    for (std::size_t b = 0; b < batch.size(); ++b) {
      batch[b].cache->renew(rows.layer, 1, positions[b].position, attention[b].q, false);
    }
  };
  run_step(decoder, tokens, positions, pass, logits, store, attend);
}

PassRequest ahead_request(const Decoder& decoder, std::size_t tokens) {
  PassRequest request = decode_request(decoder, tokens);
  request.as_alone = true;
  return request;
}

void decode_ahead(const Decoder& decoder, std::span<const AheadInput> batch, Pass& pass, float* logits) {
  const Network& network = decoder.network;
  const std::size_t kv_width = network.kv_width();
  const std::size_t query_width = network.query_width();
  const std::size_t heads = network.heads().query_heads;
  std::vector<std::int32_t> tokens;
  std::vector<RowPosition> positions;
  std::vector<std::size_t> first_row;
  std::size_t longest = 0;
  for (const AheadInput& input : batch) {
    const std::int64_t first = input.cache->next_position(0);
    first_row.push_back(tokens.size());
    longest = std::max(longest, input.tokens.size());
    for (std::size_t i = 0; i < input.tokens.size(); ++i) {
      const std::int64_t position = first + static_cast<std::int64_t>(i);
      tokens.push_back(input.tokens[i]);
      positions.push_back({.position = position, .length = static_cast<std::size_t>(position + 1)});
    }
    input.draft->tokens = input.tokens.size() - 1;
    input.draft->position = first + 1;
    input.draft->queries.clear();
  }
  std::vector<float> keys;  // a token's go to the cache when those before it have been attended with
  std::vector<float> values;
  const auto store = [&](const StepRows& rows) {
    keys.assign(rows.k, rows.k + tokens.size() * kv_width);
    values.assign(rows.v, rows.v + tokens.size() * kv_width);
  };
  std::vector<TokenAttention> attention;
  const auto attend = [&](const StepRows& rows, const float* queries, float* out, float* lse) {
    for (std::size_t i = 0; i < longest; ++i) {  // the i-th token of every sequence that has one
      attention.clear();
      for (std::size_t b = 0; b < batch.size(); ++b) {
        if (i >= batch[b].tokens.size()) continue;
        SequenceCache& cache = *batch[b].cache;
        const std::size_t r = first_row[b] + i;
        cache.append(rows.layer, 1, keys.data() + r * kv_width, values.data() + r * kv_width, kv_width);
        attention.push_back({.store = &cache.layer(rows.layer).store(),
                             .position = positions[r].position,
                             .q = queries + r * query_width,
                             .out = out + r * query_width,
                             .lse = lse == nullptr ? nullptr : lse + r * heads});
      }
      if (attention.size() == 1) {
        const TokenAttention& only = attention[0];
        only.store->attend(1, only.position, only.q, only.out, only.lse);
      } else {
        SequenceCache::attend_together(attention);
      }
      for (std::size_t b = 0; i == 0 && b < batch.size(); ++b) {
        batch[b].cache->renew(rows.layer, 1, attention[b].position, attention[b].q, false);
      }
    }
    for (std::size_t b = 0; b < batch.size(); ++b) {
      if (!batch[b].cache->remembers_queries()) continue;
      const float* first = queries + first_row[b] * query_width;
      std::vector<float>& kept = batch[b].draft->queries;
      kept.insert(kept.end(), first + query_width, first + batch[b].tokens.size() * query_width);
    }
  };
  run_step(decoder, tokens, positions, pass, logits, store, attend);
}

void settle(SequenceCache& cache, std::size_t layers, Draft& draft, std::size_t kept) {
  cache.withdraw(draft.tokens - kept);
  const std::size_t width = draft.queries.size() / std::max<std::size_t>(1, layers * draft.tokens);
  for (std::size_t layer = 0; layer < layers && width > 0; ++layer) {
    for (std::size_t i = 0; i < kept; ++i) {
      cache.renew(layer, 1, draft.position + static_cast<std::int64_t>(i),
                  draft.queries.data() + (layer * draft.tokens + i) * width, false);
    }
  }
  draft = {};
}

}  // namespace thinkey
