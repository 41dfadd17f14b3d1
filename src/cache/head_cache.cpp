#include "cache/head_cache.h"

#include <algorithm>
#include <numeric>

namespace thinkey {
namespace {

ElementFormat format_of(const CacheSpec& spec) noexcept {
  switch (spec.quantization.bits) {
    case 8:
      return ElementFormat::Q8;
    case 4:
      return ElementFormat::Q4;
    case 2:
      return ElementFormat::Q2;
    default:
      return ElementFormat::F16;
  }
}

}  // namespace

HeadCache::HeadCache(std::size_t head_dim, const CacheSpec& spec, AllocationCounter* counter)
    : head_dim_(head_dim), spec_(spec), counter_(counter) {}

void HeadCache::adopt(HeadPlan plan) {
  basis_ = std::move(plan.basis);
  value_channels_ = AlignedBuffer<std::uint16_t>(plan.value_channels.size(), counter_);
  std::transform(plan.value_channels.begin(), plan.value_channels.end(), value_channels_.data(),
                 [](std::int32_t c) { return static_cast<std::uint16_t>(c); });
  thin_ = Segment(thin_layout(basis_.size(), value_channels_.size(), spec_), counter_);
  recent_ = Segment(BlockLayout(head_dim_, head_dim_), counter_);
}

std::size_t HeadCache::recent_share(std::size_t kept, const CacheSpec& spec) noexcept {
  if (!spec.compresses()) return 0;
  const std::size_t recent = std::min(kept, static_cast<std::size_t>(spec.recent_tokens()));
  // Quantized groups are whole: what does not fill one waits in 16 bits, as in KIVI.
  return spec.quantization.active() ? recent + (kept - recent) % kBlockTokens : recent;
}

BlockLayout HeadCache::thin_layout(std::size_t key_channels, std::size_t value_channels,
                                   const CacheSpec& spec) noexcept {
  return {key_channels, value_channels, format_of(spec), static_cast<std::size_t>(spec.quantization.group)};
}

void HeadCache::fill(std::span<const std::int32_t> kept, const float* keys, const float* values) {
  const std::size_t recent = recent_share(kept.size(), spec_);
  const std::size_t thin = kept.size() - recent;
  thin_.reserve(Segment::blocks_for(thin));
  StagedBlock whole;
  whole.reset(recent_.layout());
  for (std::size_t begin = 0; begin < thin; begin += kBlockTokens) {
    whole.tokens = std::min(kBlockTokens, thin - begin);
    for (std::size_t t = 0; t < whole.tokens; ++t) {
      const std::size_t at = static_cast<std::size_t>(kept[begin + t]) * head_dim_;
      for (std::size_t c = 0; c < head_dim_; ++c) whole.keys[c * kBlockTokens + t] = keys[at + c];
      std::copy_n(values + at, head_dim_, whole.values.data() + t * head_dim_);
      whole.positions[t] = kept[begin + t];
    }
    push_thin(whole);
  }
  recent_.reserve(Segment::blocks_for(recent));
  for (std::size_t i = thin; i < kept.size(); ++i) {
    const std::size_t at = static_cast<std::size_t>(kept[i]) * head_dim_;
    recent_.push_token(kept[i], keys + at, values + at);
  }
}

void HeadCache::push_thin(const StagedBlock& whole) {
  thread_local StagedBlock staged;
  staged.reset(thin_.layout());
  staged.tokens = whole.tokens;
  std::copy_n(whole.positions, whole.tokens, staged.positions);
  basis_.reduce_keys(whole.keys.data(), staged.keys.data());
  for (std::size_t t = 0; t < whole.tokens; ++t) {
    for (std::size_t c = 0; c < value_channels_.size(); ++c) {
      staged.values[t * value_channels_.size() + c] = whole.values[t * head_dim_ + value_channels_[c]];
    }
  }
  encode_block(thin_.layout(), staged, thin_.push_block(whole.tokens));
}

void HeadCache::append(std::int32_t position, const float* key, const float* value) {
  if (basis_.size() == 0) {  // no prompt was compressed: every channel is kept
    std::vector<std::int32_t> all(head_dim_);
    std::iota(all.begin(), all.end(), 0);
    adopt({KeyBasis::of_channels(all, head_dim_, counter_), all});
  }
  if (!spec_.compresses()) {
    thin_.push_token(position, key, value);
    return;
  }
  recent_.push_token(position, key, value);
  if (recent_.tokens() < static_cast<std::size_t>(spec_.recent_tokens()) + kBlockTokens) return;
  thread_local StagedBlock oldest;
  decode_block(recent_.layout(), recent_.block(0), oldest);
  push_thin(oldest);
  recent_.pop_front();
}

}  // namespace thinkey
