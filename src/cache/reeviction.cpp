// Evicting again (`every=N`): during a long generation, and at each chat turn, the tokens held are
// ranked anew by the latest queries, and the budget is restored.
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "base/parallel.h"
#include "cache/eviction.h"
#include "cache/layer_cache.h"
#include "ops/matmul.h"
#include "ops/softmax.h"

namespace thinkey {
namespace {

constexpr std::size_t kFirstQueryRows = 32;

}  // namespace

void LayerCache::renew(std::size_t n, std::int64_t first_position, const float* q, bool turn_ended) {
  if (spec_.eviction.policy != Eviction::Streaming) remember(n, first_position, q);
  if (!turn_ended && next_position_ - evicted_at_ < spec_.eviction.every) return;
  evict_again();
  evicted_at_ = next_position_;
}

void LayerCache::remember(std::size_t n, std::int64_t first_position, const float* q) {
  const std::int64_t window = spec_.eviction.window;
  const std::size_t row = query_width();
  const std::int64_t count = std::min(window, queries_count_ + static_cast<std::int64_t>(n));
  grow_queries(static_cast<std::size_t>(count));
  const std::size_t first = n > static_cast<std::size_t>(window) ? n - static_cast<std::size_t>(window) : 0;
  for (std::size_t i = first; i < n; ++i) {
    const auto slot =
        static_cast<std::size_t>((first_position + static_cast<std::int64_t>(i)) % query_rows());
    std::copy_n(q + i * row, row, queries_.data() + slot * row);
  }
  queries_end_ = first_position + static_cast<std::int64_t>(n);
  queries_count_ = count;
}

std::size_t query_ring_rows(const CacheSpec& spec, std::size_t queries) noexcept {
  const EvictionSpec& e = spec.eviction;
  if (e.every <= 0 || e.policy == Eviction::None || e.policy == Eviction::Streaming) return 0;
  return std::min(static_cast<std::size_t>(e.window), std::max(kFirstQueryRows, 2 * queries));
}

void LayerCache::grow_queries(std::size_t rows) {
  const auto have = static_cast<std::size_t>(query_rows());
  if (rows <= have) return;
  const std::size_t row = query_width();
  const std::size_t wanted =
      std::min(static_cast<std::size_t>(spec_.eviction.window), std::max({rows, 2 * have, kFirstQueryRows}));
  AlignedBuffer<float> grown(wanted * row, counter_);
  grown.fill(0.0F);
  for (std::int64_t p = queries_end_ - queries_count_; p < queries_end_; ++p) {
    const auto position = static_cast<std::size_t>(p);
    std::copy_n(queries_.data() + position % have * row, row, grown.data() + position % wanted * row);
  }
  queries_ = std::move(grown);
}

void LayerCache::evict_again() {
  const std::size_t budget =
      layer_budget(spec_.eviction, static_cast<std::size_t>(next_position_), layer_, layers_);
  const bool streaming = spec_.eviction.policy == Eviction::Streaming;
  parallel_for(heads_.size(), [&](std::size_t h) {
    HeadCache& head = heads_[h];
    const std::size_t thin = head.thin().tokens();
    const std::size_t recent = head.recent().tokens();
    if (thin + recent <= budget) return;
    // The latest tokens stay, in whichever segment they are.
    const auto window = static_cast<std::size_t>(streaming ? 0 : spec_.eviction.window);
    const std::size_t kept_tail = std::min(thin, window - std::min(window, recent));
    const std::size_t prefix = thin - kept_tail;
    const std::size_t places = budget - std::min(budget, recent + kept_tail);

    std::vector<std::int32_t> kept;
    if (streaming) {
      const std::size_t sinks = std::min(places, static_cast<std::size_t>(spec_.eviction.sinks));
      for (std::size_t t = 0; t < prefix; ++t) {
        if (t < sinks || t + (places - sinks) >= prefix) kept.push_back(static_cast<std::int32_t>(t));
      }
    } else {
      const std::size_t group = shape_.group();
      const bool pools = spec_.eviction.policy != Eviction::H2O;
      const std::vector<float> votes = recent_votes(h);
      kept = top_indices(pooled_votes(votes, group, thin + recent, prefix, pools ? spec_.eviction.kernel : 1,
                                      spec_.eviction.pooling),
                         places);
    }
    for (std::size_t t = prefix; t < thin; ++t) kept.push_back(static_cast<std::int32_t>(t));
    head.keep_thin(kept);
  });
}

// Attention that the head's tokens, thin then recent, receive from the remembered queries: [G, tokens].
std::vector<float> LayerCache::recent_votes(std::size_t kv_head) const {
  const HeadCache& head = heads_[kv_head];
  const std::size_t dim = shape_.head_dim;
  const std::size_t group = shape_.group();
  const auto queries = static_cast<std::size_t>(queries_count_);
  const std::size_t rows = group * queries;  // row g * queries + i
  const std::size_t tokens = head.tokens();
  const float scale = shape_.logit_scale();

  std::vector<float> whole(rows * dim);
  std::vector<float> reduced(rows * head.basis().size());
  std::vector<float> bias(rows);
  const auto position = [&](std::size_t i) {
    return queries_end_ - queries_count_ + static_cast<std::int64_t>(i);
  };
  for (std::size_t r = 0; r < rows; ++r) {
    const auto slot = static_cast<std::size_t>(position(r % queries) % query_rows());
    const float* from = queries_.data() + (slot * shape_.query_heads + kv_head * group + r / queries) * dim;
    for (std::size_t c = 0; c < dim; ++c) whole[r * dim + c] = from[c] * scale;
    head.basis().reduce_query(whole.data() + r * dim, reduced.data() + r * head.basis().size());
    bias[r] = head.basis().bias(whole.data() + r * dim);
  }

  constexpr float kHidden = -std::numeric_limits<float>::infinity();
  std::vector<float> logits(rows * tokens);
  std::size_t at = 0;
  const auto score = [&](const Segment& segment, const std::vector<float>& q, const float* constant) {
    StagedBlock block;
    for (std::size_t b = 0; b < segment.blocks(); ++b) {
      decode_block(segment.layout(), segment.block(b), block);
      MatmulShape product;
      product.m = static_cast<std::int64_t>(rows);
      product.n = static_cast<std::int64_t>(block.tokens);
      product.k = product.lda = static_cast<std::int64_t>(segment.layout().key_channels);
      product.ldb = kBlockTokens;
      product.ldc = static_cast<std::int64_t>(tokens);
      product.b_transposed = false;
      matmul(product, q.data(), block.keys.data(), logits.data() + at);
      for (std::size_t r = 0; r < rows; ++r) {
        float* row = logits.data() + r * tokens + at;
        if (constant != nullptr) {
          for (std::size_t t = 0; t < block.tokens; ++t) row[t] += constant[r];
        }
        softcap(row, block.tokens, shape_.softcap);
        const auto now = static_cast<std::size_t>(position(r % queries));
        for (std::size_t t = 0; t < block.tokens; ++t) {
          if (!shape_.sees(now, static_cast<std::size_t>(block.positions[t]))) row[t] = kHidden;
        }
      }
      at += block.tokens;
    }
  };
  score(head.thin(), reduced, head.basis().has_mean() ? bias.data() : nullptr);
  score(head.recent(), whole, nullptr);

  std::vector<float> votes(group * tokens, 0.0F);
  for (std::size_t r = 0; r < rows; ++r) {
    float* row = logits.data() + r * tokens;
    softmax(row, tokens, shape_.sink(kv_head * group + r / queries));
    for (std::size_t t = 0; t < tokens; ++t) votes[r / queries * tokens + t] += row[t];
  }
  return votes;
}

}  // namespace thinkey
