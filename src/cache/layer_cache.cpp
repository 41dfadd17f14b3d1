#include "cache/layer_cache.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "base/byte_stream.h"
#include "base/fail.h"
#include "base/parallel.h"
#include "cache/bit_allocation.h"
#include "cache/eviction.h"
#include "cache/level_budget.h"
#include "cache/think.h"

namespace thinkey {
namespace {

std::vector<std::int32_t> all_channels(std::size_t head_dim) {
  std::vector<std::int32_t> all(head_dim);
  std::iota(all.begin(), all.end(), 0);
  return all;
}

bool observes_all(const EvictionSpec& spec) {
  const Policy* policy = policy_of(spec.policy);
  return policy != nullptr && policy->observes_all(spec.policy);
}

std::size_t key_channels(const HeadSizes& sizes) noexcept {
  return std::accumulate(sizes.keys.begin(), sizes.keys.end(), std::size_t{0});
}

}  // namespace

LayerCache::LayerCache(const AttentionShape& shape, LayerCompression compression, const LayerStores& stores,
                       AllocationCounter* counter)
    : shape_(shape),
      compression_(std::move(compression)),
      store_(stores.make(shape, store_format(compression_.spec), counter)) {}

void LayerCache::observe(const QueryRange& queries) {
  if (observes_all(compression_.spec.eviction)) scorer().observe(shape_, *store_, queries);
}

void LayerCache::replay(const ReplayRange& replay) {
  const Policy* policy = policy_of(compression_.spec.eviction.policy);
  if (policy == nullptr || !policy->replays) return;
  scorer().replay(shape_, *store_, replay);
  replayed_ = true;
}

Scorer& LayerCache::scorer() {
  const PolicyOptions& options = compression_.spec.eviction.policy;
  if (!scorer_) scorer_ = policy_of(options)->scorer(options);
  return *scorer_;
}

void LayerCache::compress_prompt(const PromptView& prompt, ChannelBudget& budget, CompressionTrace* trace) {
  const TokenLists kept = choose_tokens(prompt);
  scorer_.reset();
  if (compression_.spec.turbo.budgeted()) {
    costs_ = store_->noise_costs(prompt, static_cast<std::size_t>(kNoiseWindow), kept);
    double energy = prompt.residual;
    if (energy == 0.0) {
      for (const NoiseCosts& costs : costs_) energy += costs.output;
    }
    for (NoiseCosts& costs : costs_) {
      costs.values /= energy;
      for (double& cost : costs.keys) cost /= energy;
    }
  }
  store_->pack(prompt, kept, plan(prompt, kept, budget, trace));
  next_position_ = evicted_at_ = static_cast<std::int64_t>(prompt.tokens);
  if (trace != nullptr) trace->kept_tokens = kept;
}

TokenLists LayerCache::choose_tokens(const PromptView& prompt) {
  const EvictionSpec& spec = compression_.spec.eviction;
  const Policy* policy = policy_of(spec.policy);
  const std::size_t reach = tokens_in_reach(shape_, prompt.tokens);
  const std::size_t oldest = prompt.tokens - reach;
  const std::size_t budget = layer_budget(spec, reach, compression_.index, compression_.count);
  if (policy == nullptr || reach <= budget) {
    std::vector<std::int32_t> all(reach);
    std::iota(all.begin(), all.end(), static_cast<std::int32_t>(oldest));
    return TokenLists(shape_.kv_heads, all);
  }
  if (policy->replays && !replayed_) {
    fail_usage("{} has the model repeat the prompt, and here is no model; choose another policy",
               policy->name);
  }
  if (policy->observes_all(spec.policy) && !scorer_) {
    // Nobody showed the queries: the view has them.
    scorer().observe(shape_, *store_, last_queries(prompt, prompt.queries));
  }
  const ScoredTokens tokens{.shape = shape_,
                            .store = *store_,
                            .prompt = &prompt,
                            .counts = std::vector<std::size_t>(shape_.kv_heads, prompt.tokens),
                            .next = static_cast<std::int64_t>(prompt.tokens),
                            .budget = budget};
  TokenNumbers scores = scorer().scores(tokens);
  // Heads of different budgets take the bytes of equal ones: places move in whole blocks, and a head's whole
  // tokens are as many as any other's.
  const StoreFormat format = store_format(compression_.spec);
  const std::size_t whole = format.sinks + format.recent;
  const auto always = policy->least(spec.policy);
  HeadRoom room{.begin = oldest, .end = prompt.tokens, .places = budget, .least = always, .most = reach};
  if (budget >= whole) {
    room.least = std::max(room.least, whole);
  } else {
    room.most = std::min(room.most, whole);
  }
  const std::vector<HeadRoom> rooms(shape_.kv_heads, room);
  return best_tokens(
      spec, scores, rooms, kBlockTokens, [&](std::size_t h) { return tokens.positions(h); },
      [&] { return group_means(store_->value_norms(&prompt, ValueNorm::OutputL1), shape_.group()); });
}

std::vector<HeadPlan> LayerCache::plan(const PromptView& prompt, const TokenLists& kept,
                                       ChannelBudget& budget, CompressionTrace* trace) const {
  const std::size_t dim = shape_.head_dim;
  const ChannelSpec& spec = compression_.spec.channels;
  const auto window = spec.window;
  const bool prunes_keys = spec.keys > 0.0;
  const bool turbo = compression_.spec.turbo.active();
  const StoreFormat formats = store_format(compression_.spec);
  const ElementFormat format = formats.keys;

  std::vector<HeadPlan> plans(shape_.kv_heads);
  for (HeadPlan& plan : plans) {
    plan.value_channels = all_channels(dim);
    plan.keys = {plan.value_channels, uniform_keys(dim, format)};
    plan.value_format = formats.values;
  }
  std::vector<std::vector<float>> losses;
  std::vector<KeyStatistics> statistics;
  if (prunes_keys || turbo) statistics = store_->key_statistics(prompt, window, kept, spec.mixed());
  if (prunes_keys) {
    for (const KeyStatistics& s : statistics) losses.push_back(think_key_scores(s, spec.bias));
    std::vector<std::size_t> sizes(shape_.kv_heads, spec.kept_keys(dim));
    if (spec.adaptive) sizes = budget.split(losses);
    parallel_for(shape_.kv_heads, [&](std::size_t h) {
      if (spec.mixed()) {
        plans[h].keys = allocate_bits(losses[h], key_noise(statistics[h]), sizes[h], format);
      } else {
        plans[h].keys = {top_indices(losses[h], sizes[h]), uniform_keys(sizes[h], format)};
      }
      if (spec.bias) plans[h].key_mean.assign(statistics[h].mean.begin(), statistics[h].mean.end());
    });
  }
  if (turbo) {
    for (std::size_t h = 0; h < plans.size(); ++h) {
      std::vector<float>& mean = plans[h].key_mean;
      if (!mean.empty()) continue;  // every channel's, of dropped ones too
      mean.assign(dim, 0.0F);
      for (const std::int32_t c : plans[h].keys.channels) {
        const auto j = static_cast<std::size_t>(c);
        mean[j] = static_cast<float>(statistics[h].mean[j]);
      }
    }
  }
  if (spec.values > 0.0) {
    const std::vector<std::vector<double>> energy = store_->output_energy(prompt, window, kept);
    for (std::size_t h = 0; h < plans.size(); ++h) {
      plans[h].value_channels = top_indices(think_value_scores(energy[h]), spec.kept_values(dim));
    }
  }
  if (trace != nullptr) trace->channel_scores = std::move(losses);
  return plans;
}

std::vector<LevelHead> LayerCache::waiting() const {
  std::vector<LevelHead> heads;
  for (std::size_t h = 0; h < costs_.size(); ++h) heads.push_back({costs_[h], store_->sizes(h)});
  return heads;
}

void LayerCache::recode(const std::vector<LevelChoice>& choices) {
  for (std::size_t h = 0; h < choices.size(); ++h) store_->recode(h, choices[h].keys, choices[h].values);
  costs_.clear();
}

void LayerCache::append(std::size_t n, const float* k, const float* v, std::size_t stride) {
  // What the first of these tokens sees stays, so that all of them may still be attended with.
  if (shape_.sliding_window > 0) {
    store_->forget_before(
        static_cast<std::int64_t>(shape_.first_seen(static_cast<std::size_t>(next_position_))));
  }
  store_->append(n, next_position_, k, v, stride);
  next_position_ += static_cast<std::int64_t>(n);
}

std::size_t LayerCache::withdrawable() const {
  std::size_t room = store_->withdrawable(next_position_);
  if (const std::int64_t every = compression_.spec.eviction.every; every > 0) {
    const std::int64_t since = next_position_ + 1 - evicted_at_;  // with the next token
    const bool evicts = since >= every;
    if (evicts && shape_.sliding_window > 0) return 0;  // who knows which blocks the window meets then
    room = std::min(room, static_cast<std::size_t>(every - 1 - (evicts ? 0 : since)));
  }
  return room;
}

void LayerCache::withdraw(std::size_t n) {
  store_->withdraw(n);
  next_position_ -= static_cast<std::int64_t>(n);
}

LayerCache::LayerCache(const AttentionShape& shape, LayerCompression compression,
                       std::unique_ptr<LayerStore> store)
    : shape_(shape), compression_(std::move(compression)), store_(std::move(store)) {}

LayerCache LayerCache::fork(std::int64_t end, AllocationCounter* counter) const {
  LayerCache out(shape_, compression_, store_->fork(end, counter));
  out.next_position_ = std::min(end, next_position_);
  out.evicted_at_ = std::min(end, evicted_at_);
  return out;
}

bool LayerCache::reaches_back_to(std::int64_t end) const noexcept {
  if (end >= next_position_) return true;
  if (compression_.spec.eviction.active()) return false;
  // What a window no longer shows is given up.
  return shape_.sliding_window == 0 || next_position_ <= static_cast<std::int64_t>(shape_.sliding_window);
}

void LayerCache::save(ByteWriter& out) const {
  out.value(next_position_);
  out.value(evicted_at_);
  store_->save(out);
}

bool LayerCache::may_have_planned(const HeadSizes& sizes) const noexcept {
  const ChannelSpec& spec = compression_.spec.channels;
  const bool turbo = compression_.spec.turbo.active();
  const ElementFormat format = store_format(compression_.spec).keys;
  const auto dim = shape_.head_dim;
  const std::size_t keys = key_channels(sizes);
  const bool free = compression_.spec.turbo.budgeted();  // bits are the head's own
  if (free ? !is_level(sizes.value_format) : sizes.value_format != store_format(compression_.spec).values) {
    return false;
  }
  const auto fits = [&](std::size_t channels) {
    if (!free) return sizes.keys == uniform_keys(channels, format);
    for (std::size_t f = static_cast<std::size_t>(ElementFormat::L8); f < kElementFormats; ++f) {
      if (sizes.keys == uniform_keys(channels, static_cast<ElementFormat>(f))) return true;
    }
    return false;
  };
  // No prompt was compressed.
  if (fits(shape_.head_dim) && !sizes.key_mean && sizes.values == shape_.head_dim) {
    return true;
  }
  if (sizes.values != spec.kept_values(dim)) return false;
  if (!(spec.keys > 0.0)) return fits(shape_.head_dim) && sizes.key_mean == turbo;
  if (sizes.key_mean != (turbo || (spec.bias && keys < shape_.head_dim))) return false;
  if (spec.mixed()) return keys > 0;
  if (!fits(keys)) return false;
  return spec.adaptive ? keys > 0 : keys == spec.kept_keys(dim);
}

void LayerCache::restore(ByteReader& in) {
  next_position_ = in.value<std::int64_t>();
  evicted_at_ = in.value<std::int64_t>();
  constexpr std::int64_t kMost = std::int64_t{1} << 31;
  if (next_position_ < 0 || next_position_ >= kMost || evicted_at_ < 0 || evicted_at_ > next_position_) {
    in.damaged("a layer's counters do not fit together");
  }
  store_->restore(in, next_position_);
  for (std::size_t h = 0; h < shape_.kv_heads && next_position_ > 0; ++h) {
    if (!may_have_planned(store_->sizes(h))) in.damaged("a head's tables do not fit the spec");
  }
}

LayerCacheReport LayerCache::report() const {
  LayerCacheReport report;
  for (std::size_t h = 0; h < shape_.kv_heads; ++h) {
    const HeadSizes sizes = store_->sizes(h);
    const bool empty = key_channels(sizes) == 0;  // has seen nothing and keeps every channel
    report.tokens_kept += static_cast<double>(sizes.thin + sizes.recent);
    report.channels_kept += static_cast<double>(empty ? shape_.head_dim : key_channels(sizes));
    report.value_channels_kept += static_cast<double>(empty ? shape_.head_dim : sizes.values);
  }
  const auto heads = static_cast<double>(shape_.kv_heads);
  report.tokens_kept /= heads;
  report.channels_kept /= heads;
  report.value_channels_kept /= heads;
  report.sliding_window = shape_.sliding_window;
  report.bytes = store_->bytes();
  report.full_bytes = full_f16_bytes(shape_, static_cast<std::size_t>(next_position_));
  return report;
}

LayerCacheReport estimate_layer(const AttentionShape& shape, const LayerCompression& compression,
                                const LayerStores& stores, std::size_t tokens) {
  const CacheSpec& spec = compression.spec;
  const StoreFormat format = store_format(spec);
  const auto dim = shape.head_dim;
  const auto keys = spec.channels.kept_keys(dim);
  const std::size_t reach = tokens_in_reach(shape, tokens);
  const std::size_t kept = layer_budget(spec.eviction, reach, compression.index, compression.count);
  HeadSizes sizes;
  const std::size_t sinks = format.sink_share(kept);
  sizes.recent = sinks + format.recent_share(kept - sinks);
  sizes.thin = kept - sizes.recent;
  sizes.keys = uniform_keys(keys, format.keys);
  sizes.values = spec.channels.kept_values(dim);
  sizes.value_format = format.values;
  sizes.key_mean = spec.turbo.active() || (spec.channels.keys > 0.0 && spec.channels.bias);
  std::size_t head_bytes = stores.head_bytes(shape, format, sizes);
  // Mixed precision: blocks of at most this size, and any number of channels in the list.
  if (spec.channels.mixed()) {
    head_bytes += (shape.head_dim - keys) * sizeof(std::uint16_t);
  }
  LayerCacheReport layer;
  layer.tokens_kept = static_cast<double>(kept);
  layer.channels_kept = static_cast<double>(keys);
  layer.value_channels_kept = static_cast<double>(sizes.values);
  layer.sliding_window = shape.sliding_window;
  layer.bytes = shape.kv_heads * head_bytes;
  layer.full_bytes = full_f16_bytes(shape, tokens);
  if (spec.turbo.budgeted()) {  // about: layers share the budget by need, and less than 1 bit there is not
    layer.bytes = std::min(layer.bytes, budget_bytes(spec.turbo, layer.full_bytes));
  }
  return layer;
}

}  // namespace thinkey
