#include "backend/cpu/store/cpu_layer_store.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "backend/cpu/ops/merge_attention.h"
#include "backend/cpu/ops/prefill_attention.h"
#include "backend/cpu/store/levels.h"
#include "base/byte_stream.h"
#include "base/parallel.h"

namespace thinkey {

CpuLayerStore::CpuLayerStore(const AttentionShape& shape, const StoreFormat& format,
                             AllocationCounter* counter)
    : shape_(shape), format_(format), counter_(counter) {
  shape_.check();
  heads_.reserve(shape.kv_heads);
  for (std::size_t h = 0; h < shape.kv_heads; ++h) heads_.emplace_back(shape.head_dim, format, counter);
}

void CpuLayerStore::pack(const PromptView& prompt, const TokenLists& tokens, std::vector<HeadPlan> plans) {
  if (tokens.size() != heads_.size() || plans.size() != heads_.size() || prompt.tokens > prompt.capacity) {
    fail_usage("cache: {} lists of tokens and {} plans do not fit {} KV heads", tokens.size(), plans.size(),
               heads_.size());
  }
  const std::size_t stride = prompt.capacity * shape_.head_dim;
  parallel_for(heads_.size(), [&](std::size_t h) {
    heads_[h].adopt(plans[h]);
    heads_[h].fill(tokens[h], prompt.k + h * stride, prompt.v + h * stride);
  });
}

void CpuLayerStore::append(std::size_t n, std::int64_t first, const float* k, const float* v,
                           std::size_t stride) {
  const auto append_head = [&](std::size_t h) {
    for (std::size_t i = 0; i < n; ++i) {
      const std::size_t at = i * stride + h * shape_.head_dim;
      heads_[h].append(static_cast<std::int32_t>(first + static_cast<std::int64_t>(i)), k + at, v + at);
    }
  };
  if (n == 1) {
    for (std::size_t h = 0; h < heads_.size(); ++h) append_head(h);
  } else {
    parallel_for(heads_.size(), append_head);
  }
}

void CpuLayerStore::forget_before(std::int64_t position) {
  for (HeadStore& head : heads_) head.forget_before(position);
}

std::size_t CpuLayerStore::withdrawable(std::int64_t next) const {
  const auto first_seen = [&](std::size_t after) {
    return static_cast<std::int64_t>(shape_.first_seen(static_cast<std::size_t>(next) + after));
  };
  std::size_t room = kBlockTokens;
  for (const HeadStore& head : heads_) {
    room = std::min(room, head.withdrawable());
    if (shape_.sliding_window == 0) continue;
    // Until the window leaves the first block that the next token still sees.
    const std::int64_t end = head.end_of_block(first_seen(0));
    while (room > 0 && first_seen(room) > end) --room;
  }
  return room;
}

void CpuLayerStore::withdraw(std::size_t n) {
  for (HeadStore& head : heads_) head.withdraw(n);
}

void CpuLayerStore::attend(std::size_t n, std::int64_t first, const float* q, float* out, float* lse) const {
  attend_layer(shape_, heads_, n, first, q, out, lse);
}

void CpuLayerStore::attend_together(std::span<const TokenAttention> tokens) const { attend_layers(tokens); }

void CpuLayerStore::keep_thin(std::span<const std::optional<std::vector<std::int32_t>>> indices) {
  parallel_for(heads_.size(), [&](std::size_t h) {
    if (indices[h].has_value()) heads_[h].keep_thin(*indices[h]);
  });
}

HeadSizes CpuLayerStore::sizes(std::size_t kv_head) const {
  const HeadStore& head = heads_[kv_head];
  return {.thin = head.thin().tokens(),
          .recent = head.recent().tokens(),
          .keys = head.kept_keys().formats(),
          .values = head.value_channels().size(),
          .value_format = head.thin().layout().value_format,
          .key_mean = head.kept_keys().has_mean()};
}

HeldTokens CpuLayerStore::read(std::size_t kv_head) const {
  const HeadStore& head = heads_[kv_head];
  const std::size_t dim = shape_.head_dim;
  HeldTokens out;
  const bool turned = head.thin().layout().has_levels();  // values are rotated
  std::vector<float> keys(dim * kBlockTokens);
  const auto add = [&](const Segment& segment, bool thin) {
    const BlockLayout& layout = segment.layout();
    StagedBlock block;
    for (std::size_t b = 0; b < segment.blocks(); ++b) {
      decode_block(layout, segment.block(b), block);
      std::fill(keys.begin(), keys.end(), 0.0F);
      if (thin) {
        head.kept_keys().restore_keys(block.keys.data(), keys.data());
      } else {
        std::copy(block.keys.begin(), block.keys.end(), keys.begin());
      }
      for (std::size_t t = 0; t < block.tokens; ++t) {
        out.positions.push_back(block.positions[t]);
        const std::size_t at = out.keys.size();
        out.keys.resize(at + dim, 0.0F);
        out.values.resize(at + dim, 0.0F);
        for (std::size_t c = 0; c < dim; ++c) out.keys[at + c] = keys[c * kBlockTokens + t];
        float* value = block.values.data() + t * layout.value_channels;
        if (thin && turned) rotate(value, layout.value_channels);
        for (std::size_t c = 0; c < layout.value_channels; ++c) {
          out.values[at + (thin ? head.value_channels()[c] : c)] = value[c];
        }
      }
    }
  };
  add(head.thin(), true);
  out.thin = out.positions.size();
  add(head.recent(), false);
  out.key_mean = head.plan().key_mean;
  return out;
}

std::vector<std::int32_t> CpuLayerStore::positions(std::size_t kv_head) const {
  std::vector<std::int32_t> all;
  for (const Segment* segment : {&heads_[kv_head].thin(), &heads_[kv_head].recent()}) {
    for (std::size_t b = 0; b < segment->blocks(); ++b) {
      const std::byte* block = segment->block(b);
      const std::size_t tokens = segment->layout().count(block);
      for (std::size_t t = 0; t < tokens; ++t) all.push_back(segment->layout().position(block, t));
    }
  }
  return all;
}

std::size_t CpuLayerStore::bytes() const noexcept {
  std::size_t sum = queries_.bytes();
  for (const HeadStore& head : heads_) sum += head.bytes();
  return sum;
}

std::unique_ptr<LayerStore> CpuLayerStore::fork(std::int64_t end, AllocationCounter* counter) const {
  auto out = std::make_unique<CpuLayerStore>(shape_, format_, counter);
  for (std::size_t h = 0; h < heads_.size(); ++h) out->heads_[h] = heads_[h].fork(end, counter);
  if (queries_.size() > 0) {
    out->queries_ = AlignedBuffer<float>(queries_.size(), counter);
    std::copy_n(queries_.data(), queries_.size(), out->queries_.data());
    out->queries_end_ = queries_end_;
    out->queries_count_ = queries_count_;
  }
  return out;
}

void CpuLayerStore::save(ByteWriter& out) const {
  out.value(queries_end_);
  out.value(queries_count_);
  out.array(queries_.span());
  for (const HeadStore& head : heads_) head.save(out);
}

void CpuLayerStore::restore(ByteReader& in, std::int64_t next_position) {
  queries_end_ = in.value<std::int64_t>();
  queries_count_ = in.value<std::int64_t>();
  const std::size_t row = query_width();
  const auto queries = in.array<float>(format_.remembered * row);
  const auto rows = static_cast<std::int64_t>(queries.size() / row);
  if (queries_end_ < 0 || queries_end_ > next_position || queries_count_ < 0 ||
      queries_count_ > queries_end_ || queries_count_ > rows || queries.size() % row != 0) {
    in.damaged("a layer's counters do not fit together");
  }
  if (!std::all_of(queries.begin(), queries.end(), [](float x) { return std::isfinite(x); })) {
    in.damaged("a remembered query is not finite");
  }
  if (!queries.empty()) {
    queries_ = AlignedBuffer<float>(queries.size(), counter_);
    std::copy(queries.begin(), queries.end(), queries_.data());
  }
  for (HeadStore& head : heads_) head.restore(in, next_position);
}

std::unique_ptr<LayerStore> CpuLayerStores::make(const AttentionShape& shape, const StoreFormat& format,
                                                 AllocationCounter* counter) const {
  return std::make_unique<CpuLayerStore>(shape, format, counter);
}

std::size_t CpuLayerStores::head_bytes(const AttentionShape& shape, const StoreFormat& format,
                                       const HeadSizes& sizes) const {
  const std::size_t dim = shape.head_dim;
  std::size_t keys = 0;
  for (const std::size_t n : sizes.keys) keys += n;
  bool rotated = false;
  for (std::size_t f = 0; f < kElementFormats; ++f) {
    rotated = rotated || (is_level(static_cast<ElementFormat>(f)) && sizes.keys[f] > 0);
  }
  std::size_t tables = (keys + sizes.values) * sizeof(std::uint16_t);
  if (sizes.key_mean) tables += KeptKeys::means(dim, keys, rotated) * sizeof(f16_bits);
  return tables +
         Segment::blocks_for(sizes.thin) *
             HeadStore::thin_layout(sizes.keys, sizes.values, sizes.value_format, format).bytes +
         Segment::blocks_for(sizes.recent) * BlockLayout(dim, dim).bytes;
}

void CpuLayerStores::attend_prompt(const AttentionShape& shape, const PromptAttention& chunk, float* out,
                                   float* lse) const {
  prefill_attention({.shape = shape, .queries = chunk.n, .keys = chunk.keys, .key_capacity = chunk.capacity},
                    chunk.q, chunk.k, chunk.v, out, lse);
}

void CpuLayerStores::join(const AttentionShape& shape, std::size_t n, float* out, float* lse,
                          const float* past, const float* past_lse) const {
  merge_attention(n * shape.query_heads, shape.head_dim, out, lse, past, past_lse);
}

void CpuLayerStores::join_sinks(const AttentionShape& shape, std::size_t n, float* out, float* lse) const {
  if (shape.sinks != nullptr) apply_sinks(shape, n, out, lse);
}

}  // namespace thinkey
