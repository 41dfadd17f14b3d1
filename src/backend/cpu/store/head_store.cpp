#include "backend/cpu/store/head_store.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "backend/cpu/store/levels.h"

namespace thinkey {

namespace {

HeadPlan every_channel(std::size_t head_dim, const StoreFormat& format) {
  std::vector<std::int32_t> all(head_dim);
  std::iota(all.begin(), all.end(), 0);
  return {.keys = {all, uniform_keys(head_dim, format.keys)},
          .key_mean = {},
          .value_channels = all,
          .value_format = format.values};
}

}  // namespace

HeadStore::HeadStore(std::size_t head_dim, const StoreFormat& format, AllocationCounter* counter)
    : head_dim_(head_dim), format_(format), counter_(counter) {}

void HeadStore::adopt(const HeadPlan& plan) {
  kept_keys_ = KeptKeys(plan.keys, head_dim_, counter_);
  if (!plan.key_mean.empty()) kept_keys_.set_mean(plan.key_mean, counter_);
  value_channels_ = AlignedBuffer<std::uint16_t>(plan.value_channels.size(), counter_);
  std::transform(plan.value_channels.begin(), plan.value_channels.end(), value_channels_.data(),
                 [](std::int32_t c) { return static_cast<std::uint16_t>(c); });
  thin_ = Segment(thin_layout(kept_keys_.formats(), value_channels_.size(), plan.value_format, format_),
                  counter_);
  recent_ = Segment(BlockLayout(head_dim_, head_dim_), counter_);
}

HeadPlan HeadStore::plan() const {
  return {.keys = {{kept_keys_.channels().begin(), kept_keys_.channels().end()}, kept_keys_.formats()},
          .key_mean = kept_keys_.whole_mean(),
          .value_channels = {value_channels().begin(), value_channels().end()},
          .value_format = thin_.layout().value_format};
}

BlockLayout HeadStore::thin_layout(const KeyCounts& keys, std::size_t value_channels, ElementFormat values,
                                   const StoreFormat& format) noexcept {
  return {keys, value_channels, values, format.value_group, !format.runs};
}

void HeadStore::fill(std::span<const std::int32_t> kept, TokenRows keys, TokenRows values) {
  const std::size_t sinks = format_.sink_share(kept.size());
  const std::size_t recent = format_.recent_share(kept.size() - sinks);
  const std::size_t thin = kept.size() - recent;  // end of the thin ones
  std::vector<float> scratch(2 * head_dim_);
  StagedBlock whole;
  whole.reset(recent_.layout());
  thin_.reserve(Segment::blocks_for(thin - sinks));
  for (std::size_t begin = sinks; begin < thin; begin += kBlockTokens) {
    whole.tokens = std::min(kBlockTokens, thin - begin);
    for (std::size_t t = 0; t < whole.tokens; ++t) {
      const std::size_t at = static_cast<std::size_t>(kept[begin + t]) * head_dim_;
      const float* key = (keys + at).load(head_dim_, scratch.data());
      for (std::size_t c = 0; c < head_dim_; ++c) whole.keys[c * kBlockTokens + t] = key[c];
      const float* value = (values + at).load(head_dim_, scratch.data());
      std::copy_n(value, head_dim_, whole.values.data() + t * head_dim_);
      whole.positions[t] = kept[begin + t];
    }
    push_thin(whole);
  }
  recent_.reserve(Segment::blocks_for(sinks + recent));
  for (std::size_t i = 0; i < kept.size(); ++i) {
    if (i == sinks) i = thin;
    if (i == kept.size()) break;
    const std::size_t at = static_cast<std::size_t>(kept[i]) * head_dim_;
    recent_.push_token(kept[i], (keys + at).load(head_dim_, scratch.data()),
                       (values + at).load(head_dim_, scratch.data() + head_dim_));
  }
}

void HeadStore::push_thin(const StagedBlock& whole) {
  thread_local StagedBlock staged;
  staged.reset(thin_.layout());
  staged.tokens = whole.tokens;
  std::copy_n(whole.positions, whole.tokens, staged.positions);
  kept_keys_.reduce_keys(whole.keys.data(), staged.keys.data());
  for (std::size_t t = 0; t < whole.tokens; ++t) {
    for (std::size_t c = 0; c < value_channels_.size(); ++c) {
      staged.values[t * value_channels_.size() + c] = whole.values[t * head_dim_ + value_channels_[c]];
    }
    if (thin_.layout().has_levels()) {
      rotate(staged.values.data() + t * value_channels_.size(), value_channels_.size());
    }
  }
  encode_block(thin_.layout(), staged, thin_.push_block(whole.tokens));
}

void HeadStore::append(std::int32_t position, const float* key, const float* value) {
  if (kept_keys_.size() == 0) adopt(every_channel(head_dim_, format_));  // no prompt was compressed
  if (!format_.reduces) {
    thin_.push_token(position, key, value);
    return;
  }
  recent_.push_token(position, key, value);
  if (recent_.tokens() >= format_.sinks + format_.recent + kBlockTokens) thin_oldest();
}

std::size_t HeadStore::withdrawable() const {
  if (!format_.reduces) return kBlockTokens;
  const std::size_t most = format_.sinks + format_.recent + kBlockTokens - 1;  // that recent_ holds
  const std::size_t recent = recent_.tokens() + 1;
  return most - (recent > most ? recent - kBlockTokens : recent);  // the next token makes the oldest thin
}

std::int64_t HeadStore::end_of_block(std::int64_t position) const {
  for (const Segment* segment : {&thin_, &recent_}) {
    const BlockLayout& layout = segment->layout();
    for (std::size_t b = 0; b < segment->blocks(); ++b) {
      const std::byte* block = segment->block(b);
      const std::size_t tokens = layout.count(block);
      if (tokens > 0 && layout.position(block, tokens - 1) >= position) {
        return layout.position(block, tokens - 1);
      }
    }
  }
  return position;
}

void HeadStore::thin_oldest() {
  thread_local StagedBlock oldest;
  decode_block(recent_.layout(), recent_.block(0), oldest);
  const std::size_t stay = format_.sinks;
  if (stay == 0) {
    push_thin(oldest);
    recent_.pop_front();
    return;
  }
  // The rest moves up behind the sinks. Written again, fixed point is what it was.
  std::vector<StagedBlock> blocks(recent_.blocks());
  for (std::size_t b = 0; b < blocks.size(); ++b) decode_block(recent_.layout(), recent_.block(b), blocks[b]);
  const std::size_t tokens = recent_.tokens();
  while (recent_.blocks() > 0) recent_.pop_front();
  std::vector<float> key(head_dim_);
  oldest.reset(recent_.layout());
  for (std::size_t i = 0; i < tokens; ++i) {
    const StagedBlock& from = blocks[i / kBlockTokens];
    const std::size_t t = i % kBlockTokens;
    const float* value = from.values.data() + t * head_dim_;
    if (i < stay || i >= stay + kBlockTokens) {
      for (std::size_t c = 0; c < head_dim_; ++c) key[c] = from.keys[c * kBlockTokens + t];
      recent_.push_token(from.positions[t], key.data(), value);
      continue;
    }
    for (std::size_t c = 0; c < head_dim_; ++c) {
      oldest.keys[c * kBlockTokens + oldest.tokens] = from.keys[c * kBlockTokens + t];
    }
    std::copy_n(value, head_dim_, oldest.values.data() + oldest.tokens * head_dim_);
    oldest.positions[oldest.tokens++] = from.positions[t];
  }
  push_thin(oldest);
}

void HeadStore::forget_before(std::int64_t position) {
  for (Segment* segment : {&thin_, &recent_}) {
    while (segment->blocks() > 0) {
      const std::byte* block = segment->block(0);
      const std::size_t tokens = segment->layout().count(block);
      if (tokens > 0 && segment->layout().position(block, tokens - 1) >= position) return;
      segment->pop_front();
    }
  }
}

void HeadStore::keep_thin(std::span<const std::int32_t> indices) {
  const BlockLayout& layout = thin_.layout();
  Segment kept(layout, counter_);
  kept.reserve(Segment::blocks_for(indices.size()));
  StagedBlock from;
  StagedBlock to;
  to.reset(layout);
  const auto flush = [&] {
    if (to.tokens > 0) encode_block(layout, to, kept.push_block(to.tokens));
    to.tokens = 0;
  };
  std::size_t first = 0;  // index of the block's first token
  std::size_t next = 0;
  for (std::size_t b = 0; b < thin_.blocks() && next < indices.size(); ++b) {
    decode_block(layout, thin_.block(b), from);
    for (; next < indices.size() && static_cast<std::size_t>(indices[next]) < first + from.tokens; ++next) {
      const std::size_t t = static_cast<std::size_t>(indices[next]) - first;
      for (std::size_t c = 0; c < layout.key_channels; ++c) {
        to.keys[c * kBlockTokens + to.tokens] = from.keys[c * kBlockTokens + t];
      }
      std::copy_n(from.values.data() + t * layout.value_channels, layout.value_channels,
                  to.values.data() + to.tokens * layout.value_channels);
      to.positions[to.tokens++] = from.positions[t];
      if (to.tokens == kBlockTokens) flush();
    }
    first += from.tokens;
  }
  flush();
  thin_ = std::move(kept);
}

void HeadStore::recode(ElementFormat keys, ElementFormat values) {
  const BlockLayout from = thin_.layout();
  kept_keys_.set_levels(keys);
  Segment coded(thin_layout(kept_keys_.formats(), from.value_channels, values, format_), counter_);
  if (coded.layout() == from) return;
  coded.reserve(thin_.blocks());
  StagedBlock block;
  for (std::size_t b = 0; b < thin_.blocks(); ++b) {
    decode_block(from, thin_.block(b), block);
    encode_block(coded.layout(), block, coded.push_block(block.tokens));
  }
  thin_ = std::move(coded);
}

HeadStore HeadStore::fork(std::int64_t end, AllocationCounter* counter) const {
  HeadStore out(head_dim_, format_, counter);
  if (kept_keys_.size() == 0) return out;
  out.adopt(plan());
  if (kept_keys_.has_mean()) out.kept_keys_.restore_mean(kept_keys_.mean(), counter);
  out.thin_ = thin_.fork(end, counter);
  out.recent_ = recent_.fork(end, counter);
  return out;
}

namespace {

void save_segment(const Segment& segment, ByteWriter& out) {
  out.value(static_cast<std::uint64_t>(segment.blocks()));
  for (std::size_t b = 0; b < segment.blocks(); ++b) out.bytes({segment.block(b), segment.layout().bytes});
}

// Tokens must come in ascending position after `last`, and before `end`; but for the first `sinks`, which are
// in an order of their own.
void restore_segment(Segment& segment, bool whole, ByteReader& in, std::int64_t& last, std::int64_t end,
                     std::size_t sinks) {
  std::int64_t last_sink = -1;
  const auto blocks = in.value<std::uint64_t>();
  const BlockLayout& layout = segment.layout();
  if (blocks > in.left() / layout.bytes) in.damaged("it has fewer blocks than it says");
  segment.reserve(blocks);
  for (std::uint64_t b = 0; b < blocks; ++b) {
    // Only thin blocks may have free places and others after them.
    if (whole && b > 0 && layout.count(segment.block(b - 1)) < kBlockTokens) {
      in.damaged("a block of recent tokens is not full");
    }
    const std::span<const std::byte> stored = in.bytes(layout.bytes);
    std::byte* block = segment.push_block(0);
    std::copy(stored.begin(), stored.end(), block);
    if (!layout.has_sound_positions(block)) in.damaged("a block has tokens after its end");
    const std::size_t tokens = layout.count(block);
    if (tokens == 0) in.damaged("a block has no tokens");
    if (!has_finite_scales(layout, block)) in.damaged("a block's scales are not finite");
    for (std::size_t t = 0; t < tokens; ++t) {
      const std::int64_t position = layout.position(block, t);
      std::int64_t& before = segment.tokens() + t < sinks ? last_sink : last;
      if (position <= before || position >= end) in.damaged("its positions are out of order");
      before = position;
    }
    segment.note_tokens(tokens);
  }
}

std::vector<std::int32_t> read_channels(ByteReader& in, std::size_t head_dim) {
  const auto stored = in.array<std::uint16_t>(head_dim);
  return {stored.begin(), stored.end()};
}

// Channels must be ascending, below head_dim, within each run of `counts`, and occur once.
void check_channels(ByteReader& in, std::span<const std::int32_t> channels,
                    std::span<const std::size_t> counts, std::size_t head_dim) {
  std::vector<bool> seen(head_dim, false);
  std::size_t at = 0;
  for (const std::size_t n : counts) {
    if (n > channels.size() - at) in.damaged("a head's tables do not fit together");
    for (std::size_t i = at; i < at + n; ++i) {
      const auto c = static_cast<std::size_t>(channels[i]);
      if (c >= head_dim || seen[c] || (i > at && channels[i] <= channels[i - 1])) {
        in.damaged("a channel list is out of order");
      }
      seen[c] = true;
    }
    at += n;
  }
  if (at != channels.size()) in.damaged("a head's tables do not fit together");
}

}  // namespace

void HeadStore::save(ByteWriter& out) const {
  out.value(static_cast<std::uint8_t>(kept_keys_.size() > 0));
  if (kept_keys_.size() == 0) return;
  out.array(kept_keys_.channels());
  for (const std::size_t n : kept_keys_.formats()) out.value(static_cast<std::uint16_t>(n));
  out.array(kept_keys_.mean());
  out.array(value_channels());
  out.value(static_cast<std::uint8_t>(thin_.layout().value_format));
  save_segment(thin_, out);
  save_segment(recent_, out);
}

void HeadStore::restore(ByteReader& in, std::int64_t next_position) {
  const auto planned = in.value<std::uint8_t>();
  if (planned > 1 || (planned == 1) != (next_position > 0)) in.damaged("a head's tables do not fit together");
  if (planned == 0) return;
  HeadPlan plan;
  plan.keys.channels = read_channels(in, head_dim_);
  for (std::size_t& n : plan.keys.formats) n = in.value<std::uint16_t>();
  check_channels(in, plan.keys.channels, plan.keys.formats, head_dim_);
  std::size_t levels = 0;
  for (std::size_t f = 0; f < kElementFormats; ++f) {
    if (is_level(static_cast<ElementFormat>(f)) && plan.keys.formats[f] > 0) levels = plan.keys.formats[f];
  }
  const auto mean = in.array<f16_bits>(head_dim_);
  for (const f16_bits m : mean) {
    if (!std::isfinite(f32_from_f16(m))) in.damaged("a head's mean key is not finite");
  }
  const std::size_t kept = plan.keys.channels.size();
  if (kept == 0 || (levels > 0 && levels != kept) ||
      (!mean.empty() && mean.size() != KeptKeys::means(head_dim_, kept, levels > 0))) {
    in.damaged("a head's tables do not fit together");
  }
  plan.value_channels = read_channels(in, head_dim_);
  check_channels(in, plan.value_channels, std::vector{plan.value_channels.size()}, head_dim_);
  const auto values = in.value<std::uint8_t>();
  if (values >= kElementFormats) in.damaged("a head's tables do not fit together");
  plan.value_format = static_cast<ElementFormat>(values);
  adopt(plan);
  kept_keys_.restore_mean(mean, counter_);
  std::int64_t last = -1;
  restore_segment(thin_, false, in, last, next_position, 0);
  restore_segment(recent_, true, in, last, next_position, format_.sinks);
}

}  // namespace thinkey
