#include "cache/sequence_cache.h"

#include <algorithm>

#include "base/byte_stream.h"
#include "cache/eviction.h"

namespace thinkey {

SequenceCache::SequenceCache(const CacheShape& shape, const CacheSpec& spec, AllocationCounter* counter,
                             const LayerStores& stores)
    : shape_(shape),
      asked_(spec),
      spec_(spec),
      budget_(compressed_layers(shape), shape.kv_heads(),
              static_cast<std::size_t>(spec.channels.kept_keys(shape.head_dim())), shape.head_dim()),
      counter_(counter),
      stores_(&stores) {
  shape_.check();
  spec_.validate();
  const std::vector<LayerCompression> compression = compression_of_layers(shape_, spec_);
  layers_.reserve(compression.size());
  for (std::size_t i = 0; i < compression.size(); ++i) {
    layers_.emplace_back(shape_.layers[i], compression[i], stores, counter);
  }
}

bool SequenceCache::observes_all_queries() const {
  const Policy* policy = policy_of(spec_.eviction.policy);
  return policy != nullptr && policy->observes_all(spec_.eviction.policy);
}

bool SequenceCache::wants_replay() const {
  const Policy* policy = policy_of(spec_.eviction.policy);
  return policy != nullptr && policy->replays;
}

std::size_t SequenceCache::observed_queries(bool later_turn) const {
  if (later_turn) return store_format(spec_).remembered;
  return static_cast<std::size_t>(spec_.observation_window());
}

void SequenceCache::replay(std::size_t layer, const ReplayRange& replay) { layers_[layer].replay(replay); }

void SequenceCache::observe(std::size_t layer, const QueryRange& queries) { layers_[layer].observe(queries); }

void SequenceCache::compress_prompt(std::size_t layer, const PromptView& prompt, CompressionTrace* trace) {
  if (spec_.turbo.budgeted() && packed_ == 0) resolve(prompt.tokens);
  layers_[layer].compress_prompt(prompt, budget_, trace);
  if (++packed_ == layers_.size() && spec_.turbo.budgeted()) spend_budget();
}

void SequenceCache::resolve(std::size_t tokens) {
  const CacheSpec resolved = resolved_spec(spec_, shape_, tokens, *stores_);
  if (resolved == spec_) return;
  spec_ = resolved;
  const std::vector<LayerCompression> compression = compression_of_layers(shape_, spec_);
  for (std::size_t l = 0; l < layers_.size(); ++l) {
    layers_[l] = LayerCache(shape_.layers[l], compression[l], *stores_, counter_);
  }
}

void SequenceCache::spend_budget() {
  std::size_t full = 0;
  std::vector<std::vector<LevelHead>> heads;
  std::vector<StoreFormat> formats;
  const std::vector<LayerCompression> compression = compression_of_layers(shape_, spec_);
  for (std::size_t l = 0; l < layers_.size(); ++l) {
    full += layers_[l].report().full_bytes;
    heads.push_back(layers_[l].waiting());
    formats.push_back(store_format(compression[l].spec));
  }
  const auto choices =
      allocate_levels(shape_, *stores_, formats, heads, interim_bits(spec_), budget_bytes(spec_.turbo, full));
  for (std::size_t l = 0; l < layers_.size(); ++l) layers_[l].recode(choices[l]);
}

void SequenceCache::append(std::size_t layer, std::size_t n, const float* k, const float* v,
                           std::size_t stride) {
  layers_[layer].append(n, k, v, stride);
}

void SequenceCache::attend(std::size_t layer, std::size_t n, std::int64_t first_position, const float* q,
                           float* out, float* lse) const {
  layers_[layer].store().attend(n, first_position, q, out, lse);
}

void SequenceCache::renew(std::size_t layer, std::size_t n, std::int64_t first_position, const float* q,
                          bool turn_ended) {
  layers_[layer].renew(n, first_position, q, turn_ended);
}

std::size_t SequenceCache::withdrawable() const {
  std::size_t room = kBlockTokens;
  for (const LayerCache& layer : layers_) room = std::min(room, layer.withdrawable());
  return room;
}

void SequenceCache::withdraw(std::size_t n) {
  for (LayerCache& layer : layers_) layer.withdraw(n);
}

SequenceCache SequenceCache::fork(std::int64_t end, AllocationCounter* counter) const {
  std::vector<LayerCache> layers;
  layers.reserve(layers_.size());
  for (const LayerCache& layer : layers_) layers.push_back(layer.fork(end, counter));
  return {*this, std::move(layers)};
}

void SequenceCache::quantize(const QuantizationSpec& quantization, AllocationCounter* counter,
                             const LayerStores& stores) {
  CacheSpec spec = spec_;
  spec.quantization = quantization;
  spec.validate();
  const std::vector<LayerCompression> compression = compression_of_layers(shape_, spec);
  for (std::size_t l = 0; l < layers_.size(); ++l) {
    const AttentionShape& heads = shape_.layers[l];
    const auto tokens = static_cast<std::size_t>(next_position(l));
    // Rows of tokens that a window no longer shows stay empty; nobody will ask for them.
    std::vector<float> k(heads.kv_heads * tokens * heads.head_dim, 0.0F);
    std::vector<float> v(k.size(), 0.0F);
    for (std::size_t h = 0; h < heads.kv_heads; ++h) {
      const HeldTokens held = layers_[l].store().read(h);
      for (std::size_t t = 0; t < held.positions.size(); ++t) {
        const std::size_t to = (h * tokens + static_cast<std::size_t>(held.positions[t])) * heads.head_dim;
        std::copy_n(held.keys.data() + t * heads.head_dim, heads.head_dim, k.data() + to);
        std::copy_n(held.values.data() + t * heads.head_dim, heads.head_dim, v.data() + to);
      }
    }
    PromptView view;
    view.tokens = view.capacity = tokens;
    view.k = k.data();
    view.v = v.data();
    LayerCache thinner(heads, compression[l], stores, counter);
    thinner.compress_prompt(view, budget_, nullptr);
    layers_[l] = std::move(thinner);
  }
  asked_ = spec_ = spec;
}

bool SequenceCache::can_fork(std::int64_t end) const noexcept {
  return end > 0 && end <= next_position(0) &&
         std::all_of(layers_.begin(), layers_.end(),
                     [&](const LayerCache& layer) { return layer.reaches_back_to(end); });
}

void SequenceCache::restore(ByteReader& in) {
  for (LayerCache& layer : layers_) layer.restore(in);
  for (const LayerCache& layer : layers_) {
    if (layer.next_position() != layers_[0].next_position()) in.damaged("its layers differ in length");
  }
}

std::size_t query_ring_rows(const CacheSpec& spec, std::size_t queries) {
  return store_format(spec).query_rows(queries);
}

std::int64_t SequenceCache::next_position(std::size_t layer) const noexcept {
  return layers_[layer].next_position();
}

namespace {

CacheReport report_of(const CacheShape& shape, const CacheSpec& spec, std::size_t tokens,
                      std::vector<LayerCacheReport> layers) {
  CacheReport report;
  report.spec = spec.to_string();
  report.tokens_seen = tokens;
  report.head_dim = shape.head_dim();
  report.layers = std::move(layers);
  for (const LayerCacheReport& layer : report.layers) {
    report.bytes += layer.bytes;
    report.full_bytes += layer.full_bytes;
  }
  return report;
}

}  // namespace

CacheReport SequenceCache::report() const {
  std::vector<LayerCacheReport> layers;
  for (const LayerCache& layer : layers_) layers.push_back(layer.report());
  return report_of(shape_, spec_, layers_.empty() ? 0 : static_cast<std::size_t>(layers_[0].next_position()),
                   std::move(layers));
}

CacheReport estimate_cache(const CacheShape& shape, const CacheSpec& spec, std::size_t tokens,
                           const LayerStores& stores) {
  const CacheSpec resolved = resolved_spec(spec, shape, tokens, stores);
  const std::vector<LayerCompression> compression = compression_of_layers(shape, resolved);
  std::vector<LayerCacheReport> layers;
  for (std::size_t l = 0; l < compression.size(); ++l) {
    layers.push_back(estimate_layer(shape.layers[l], compression[l], stores, tokens));
  }
  CacheReport report = report_of(shape, resolved, tokens, std::move(layers));
  if (resolved.turbo.budgeted()) {
    report.bytes = std::max(report.bytes, least_bytes(resolved, shape, tokens, stores));
  }
  return report;
}

}  // namespace thinkey
