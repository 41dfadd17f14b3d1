#include "cache/sequence_cache.h"

#include <algorithm>

#include "cache/channel_budget.h"
#include "cache/eviction.h"
#include "cache/layer_cache.h"

namespace thinkey {

SequenceCache::SequenceCache(const CacheShape& shape, const CacheSpec& spec, AllocationCounter* counter)
    : shape_(shape), spec_(spec) {
  shape_.check();
  spec_.validate();
  const std::size_t layers = shape_.layers.size();
  layers_.reserve(layers);
  for (std::size_t i = 0; i < layers; ++i) layers_.emplace_back(shape_.layers[i], spec_, i, layers, counter);
  budget_ = std::make_unique<ChannelBudget>(
      layers, shape_.kv_heads(),
      static_cast<std::size_t>(spec_.channels.kept_keys(static_cast<std::int64_t>(shape_.head_dim()))),
      shape_.head_dim());
}

SequenceCache::~SequenceCache() = default;
SequenceCache::SequenceCache(SequenceCache&&) noexcept = default;
SequenceCache& SequenceCache::operator=(SequenceCache&&) noexcept = default;

bool SequenceCache::observes_all_queries() const noexcept {
  const EvictionPolicy* policy = eviction_policy(spec_.eviction.policy);
  return policy != nullptr && policy->all_queries && !spec_.eviction.observe_window;
}

std::size_t SequenceCache::observed_queries(bool later_turn) const noexcept {
  const std::int64_t renewed = spec_.eviction.every > 0 ? spec_.eviction.window : 0;
  return static_cast<std::size_t>(later_turn ? renewed : spec_.observation_window());
}

void SequenceCache::observe(std::size_t layer, const QueryRange& queries) { layers_[layer].observe(queries); }

void SequenceCache::compress_prompt(std::size_t layer, const PromptView& prompt, CompressionTrace* trace) {
  layers_[layer].compress_prompt(prompt, *budget_, trace);
}

void SequenceCache::append(std::size_t layer, std::size_t n, const float* k, const float* v,
                           std::size_t stride) {
  layers_[layer].append(n, k, v, stride);
}

void SequenceCache::attend(std::size_t layer, std::size_t n, std::int64_t first_position, const float* q,
                           float* out, float* lse) const {
  attend_layer(shape_.layers[layer], layers_[layer].heads(), n, first_position, q, out, lse);
}

void SequenceCache::renew(std::size_t layer, std::size_t n, std::int64_t first_position, const float* q,
                          bool turn_ended) {
  if (spec_.eviction.every > 0) layers_[layer].renew(n, first_position, q, turn_ended);
}

void SequenceCache::restore(ByteReader& in) {
  for (LayerCache& layer : layers_) layer.restore(in);
  for (const LayerCache& layer : layers_) {
    if (layer.next_position() != layers_[0].next_position()) in.damaged("its layers differ in length");
  }
}

std::int64_t SequenceCache::next_position(std::size_t layer) const noexcept {
  return layers_[layer].next_position();
}

const LayerCache& SequenceCache::layer(std::size_t i) const noexcept { return layers_[i]; }

namespace {

std::size_t full_f16_bytes(const CacheShape& shape, std::int64_t tokens) {
  return 2 * sizeof(f16_bits) * shape.layers.size() * shape.kv_heads() * shape.head_dim() *
         static_cast<std::size_t>(tokens);
}

}  // namespace

CacheReport SequenceCache::report() const {
  CacheReport report;
  report.spec = spec_.to_string();
  report.tokens_seen = layers_.empty() ? 0 : layers_[0].next_position();
  report.head_dim = static_cast<std::int64_t>(shape_.head_dim());
  for (const LayerCache& layer : layers_) {
    report.layers.push_back(layer.report());
    report.bytes += report.layers.back().bytes;
  }
  report.full_bytes = full_f16_bytes(shape_, report.tokens_seen);
  return report;
}

CacheReport estimate_cache(const CacheShape& shape, const CacheSpec& spec, std::int64_t tokens) {
  const std::size_t dim = shape.head_dim();
  const auto signed_dim = static_cast<std::int64_t>(dim);
  const auto keys = static_cast<std::size_t>(spec.channels.kept_keys(signed_dim));
  const auto values = static_cast<std::size_t>(spec.channels.kept_values(signed_dim));
  const bool pruned = spec.channels.keys > 0.0;
  // Mixed precision: blocks of at most this size, and any number of channels.
  const std::size_t listed = (pruned && spec.channels.mixed ? dim : keys) + values;
  std::size_t tables = listed * sizeof(std::uint16_t);
  if (pruned && spec.channels.bias) tables += (dim - keys) * sizeof(f16_bits);
  const std::size_t thin_bytes =
      HeadCache::thin_layout(uniform_keys(keys, HeadCache::thin_format(spec)), values, spec).bytes;
  CacheReport report;
  report.spec = spec.to_string();
  report.tokens_seen = tokens;
  report.head_dim = signed_dim;
  for (std::size_t l = 0; l < shape.layers.size(); ++l) {
    const std::size_t kept =
        layer_budget(spec.eviction, static_cast<std::size_t>(tokens), l, shape.layers.size());
    const std::size_t recent = HeadCache::recent_share(kept, spec);
    LayerCacheReport layer;
    layer.tokens_kept = static_cast<double>(kept);
    layer.channels_kept = static_cast<double>(keys);
    layer.value_channels_kept = static_cast<double>(values);
    layer.bytes = shape.kv_heads() * (tables + Segment::blocks_for(kept - recent) * thin_bytes +
                                      Segment::blocks_for(recent) * BlockLayout(dim, dim).bytes);
    report.bytes += layer.bytes;
    report.layers.push_back(layer);
  }
  report.full_bytes = full_f16_bytes(shape, tokens);
  return report;
}

}  // namespace thinkey
