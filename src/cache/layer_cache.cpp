#include "cache/layer_cache.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/parallel.h"
#include "cache/attention_sums.h"
#include "cache/bit_allocation.h"
#include "cache/eviction.h"
#include "cache/think.h"

namespace thinkey {
LayerCache::LayerCache(const AttentionShape& shape, const CacheSpec& spec, std::size_t layer,
                       std::size_t layers, AllocationCounter* counter)
    : shape_(shape), spec_(spec), layer_(layer), layers_(layers), counter_(counter) {
  heads_.reserve(shape.kv_heads);
  for (std::size_t h = 0; h < shape.kv_heads; ++h) heads_.emplace_back(shape.head_dim, spec, counter);
}

void LayerCache::observe(const QueryRange& queries) {
  received_.resize(shape_.query_heads * queries.capacity, 0.0F);
  const std::size_t group = shape_.group();
  parallel_for(shape_.kv_heads, [&](std::size_t h) {
    add_attention_sums(shape_, queries, h, queries.capacity, received_.data() + h * group * queries.capacity);
  });
}

void LayerCache::compress_prompt(const PromptView& prompt, ChannelBudget& budget, CompressionTrace* trace) {
  const std::vector<std::vector<std::int32_t>> kept =
      evict(shape_, spec_.eviction, prompt, layer_budget(spec_.eviction, prompt.tokens, layer_, layers_),
            received_);
  std::vector<float>().swap(received_);

  std::vector<HeadPlan> plans = plan(prompt, kept, budget, trace);
  const std::size_t stride = prompt.capacity * shape_.head_dim;
  parallel_for(shape_.kv_heads, [&](std::size_t h) {
    heads_[h].adopt(std::move(plans[h]));
    heads_[h].fill(kept[h], prompt.k + h * stride, prompt.v + h * stride);
  });
  next_position_ = evicted_at_ = static_cast<std::int64_t>(prompt.tokens);
  if (trace != nullptr) trace->kept_tokens = kept;
}

std::vector<HeadPlan> LayerCache::plan(const PromptView& prompt,
                                       const std::vector<std::vector<std::int32_t>>& kept,
                                       ChannelBudget& budget, CompressionTrace* trace) const {
  const std::size_t dim = shape_.head_dim;
  const ChannelSpec& spec = spec_.channels;
  const auto window = static_cast<std::size_t>(spec.window);
  const bool prunes_keys = spec.keys > 0.0;

  std::vector<std::vector<float>> losses(shape_.kv_heads);
  if (prunes_keys) {
    parallel_for(shape_.kv_heads, [&](std::size_t h) {
      losses[h] = think_key_scores(shape_, prompt, window, h, kept[h], spec.bias);
    });
  }
  std::vector<std::size_t> sizes(shape_.kv_heads,
                                 static_cast<std::size_t>(spec.kept_keys(static_cast<std::int64_t>(dim))));
  if (prunes_keys && spec.adaptive) sizes = budget.split(losses);

  const ElementFormat format = HeadCache::thin_format(spec_);
  std::vector<HeadPlan> plans(shape_.kv_heads);
  parallel_for(shape_.kv_heads, [&](std::size_t h) {
    HeadPlan& plan = plans[h];
    KeyPlan keys = HeadCache::all_channels(dim, spec_);
    if (prunes_keys && spec.mixed) {
      keys = allocate_bits(losses[h], key_noise(shape_, prompt, window, h, kept[h]), sizes[h], format);
    } else if (prunes_keys) {
      keys = {top_indices(losses[h], sizes[h]), uniform_keys(sizes[h], format)};
    }
    plan.basis = KeyBasis(keys, dim, counter_);
    if (prunes_keys && spec.bias) plan.basis.set_mean(mean_key(shape_, prompt, h, kept[h]), counter_);
    plan.value_channels = HeadCache::all_channels(dim, spec_).channels;
    if (spec.values > 0.0) {
      plan.value_channels =
          top_indices(think_value_scores(shape_, prompt, window, h, kept[h]),
                      static_cast<std::size_t>(spec.kept_values(static_cast<std::int64_t>(dim))));
    }
  });
  if (trace != nullptr) {
    trace->channel_scores = prunes_keys ? std::move(losses) : std::vector<std::vector<float>>{};
  }
  return plans;
}

void LayerCache::append(std::size_t n, const float* k, const float* v, std::size_t stride) {
  const auto append_head = [&](std::size_t h) {
    for (std::size_t i = 0; i < n; ++i) {
      const std::size_t at = i * stride + h * shape_.head_dim;
      heads_[h].append(static_cast<std::int32_t>(next_position_ + static_cast<std::int64_t>(i)), k + at,
                       v + at);
    }
  };
  if (n == 1) {
    for (std::size_t h = 0; h < heads_.size(); ++h) append_head(h);
  } else {
    parallel_for(heads_.size(), append_head);
  }
  next_position_ += static_cast<std::int64_t>(n);
}

void LayerCache::save(ByteWriter& out) const {
  out.value(next_position_);
  out.value(evicted_at_);
  out.value(queries_end_);
  out.value(queries_count_);
  out.array(queries_.span());
  for (const HeadCache& head : heads_) head.save(out);
}

void LayerCache::restore(ByteReader& in) {
  next_position_ = in.value<std::int64_t>();
  evicted_at_ = in.value<std::int64_t>();
  queries_end_ = in.value<std::int64_t>();
  queries_count_ = in.value<std::int64_t>();
  const std::size_t row = query_width();
  const auto queries = in.array<float>(static_cast<std::size_t>(spec_.eviction.window) * row);
  const auto rows = static_cast<std::int64_t>(queries.size() / row);
  constexpr std::int64_t kMost = std::int64_t{1} << 31;
  if (next_position_ < 0 || next_position_ >= kMost || evicted_at_ < 0 || evicted_at_ > next_position_ ||
      queries_end_ < 0 || queries_end_ > next_position_ || queries_count_ < 0 ||
      queries_count_ > queries_end_ || queries_count_ > rows || queries.size() % row != 0 ||
      (!queries.empty() && query_ring_rows(spec_, queries.size()) == 0)) {
    in.damaged("a layer's counters do not fit together");
  }
  if (!std::all_of(queries.begin(), queries.end(), [](float x) { return std::isfinite(x); })) {
    in.damaged("a remembered query is not finite");
  }
  if (!queries.empty()) {
    queries_ = AlignedBuffer<float>(queries.size(), counter_);
    std::copy(queries.begin(), queries.end(), queries_.data());
  }
  for (HeadCache& head : heads_) head.restore(in, next_position_);
}

LayerCacheReport LayerCache::report() const {
  LayerCacheReport report;
  for (const HeadCache& head : heads_) {
    report.tokens_kept += static_cast<double>(head.tokens());
    report.channels_kept +=
        static_cast<double>(head.basis().size() == 0 ? shape_.head_dim : head.basis().size());
    report.value_channels_kept +=
        static_cast<double>(head.basis().size() == 0 ? shape_.head_dim : head.value_channels().size());
    report.bytes += head.bytes();
  }
  report.bytes += queries_.bytes();
  const auto heads = static_cast<double>(heads_.size());
  report.tokens_kept /= heads;
  report.channels_kept /= heads;
  report.value_channels_kept /= heads;
  return report;
}

}  // namespace thinkey
