// One layer of a sequence's cache: a head per KV head, each a thin and a recent segment.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/aligned_buffer.h"
#include "cache/segment.h"
#include "cache/sequence_cache.h"

namespace thinkey {

// One KV head. Tokens enter `recent` whole and move to `thin` in blocks; when nothing is pruned
// there is no difference between the two and everything lives in `thin`.
struct HeadCache {
  AlignedBuffer<std::uint16_t> channels;  // kept key channels of `thin`, ascending [D']
  Segment thin;
  Segment recent;

  [[nodiscard]] std::size_t tokens() const noexcept { return thin.tokens() + recent.tokens(); }
  [[nodiscard]] std::size_t bytes() const noexcept {
    return channels.bytes() + thin.bytes() + recent.bytes();
  }
};

class LayerCache {
 public:
  LayerCache(const CacheShape& shape, const CacheSpec& spec, AllocationCounter* counter);

  void compress_prompt(const PromptView& prompt, CompressionTrace* trace);
  void append(std::size_t n, const float* k, const float* v, std::size_t stride);
  void attend(std::size_t n, std::int64_t first_position, const float* q, float* out, float* lse) const;

  [[nodiscard]] std::int64_t next_position() const noexcept { return next_position_; }
  [[nodiscard]] const std::vector<HeadCache>& heads() const noexcept { return heads_; }
  [[nodiscard]] LayerCacheReport report() const;

 private:
  void prepare_head(HeadCache& head, std::vector<std::int32_t> channels) const;
  void fill_head(HeadCache& head, std::size_t kv_head, const PromptView& prompt,
                 const std::vector<std::int32_t>& kept) const;
  void append_token(HeadCache& head, std::int32_t position, const float* k, const float* v) const;

  CacheShape shape_;
  CacheSpec spec_;
  AllocationCounter* counter_;
  std::vector<HeadCache> heads_;
  std::int64_t next_position_ = 0;
};

}  // namespace thinkey
