// A run of blocks of one KV head, all of one layout, tokens in ascending position.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "backend/cpu/store/block.h"
#include "base/aligned_buffer.h"

namespace thinkey {

// Segments that fork() made of one another share their full blocks, which nobody writes any more.
class Segment {
 public:
  Segment() = default;
  Segment(const BlockLayout& layout, AllocationCounter* counter) : layout_(layout), counter_(counter) {}

  [[nodiscard]] const BlockLayout& layout() const noexcept { return layout_; }
  [[nodiscard]] std::size_t tokens() const noexcept { return tokens_; }
  [[nodiscard]] std::size_t blocks() const noexcept { return used_; }
  [[nodiscard]] const std::byte* block(std::size_t i) const noexcept { return index_[i]; }
  [[nodiscard]] const std::byte* const* index() const noexcept {
    return index_.data();
  }  // block pointers in order
  // Of its blocks, spare and shared ones included.
  [[nodiscard]] std::size_t bytes() const noexcept { return index_.size() * layout_.bytes; }

  // Room for exactly `blocks` more blocks in one piece; afterwards blocks are allocated one by one, so
  // that a cache never holds more than one block beyond its need.
  void reserve(std::size_t blocks);

  // An uninitialised block at the end that the caller overwrites with `tokens` tokens.
  [[nodiscard]] std::byte* push_block(std::size_t tokens);
  // Counts tokens put into a block that was pushed with 0.
  void note_tokens(std::size_t n) noexcept { tokens_ += n; }

  // Appends one token with all of the layout's channels, f32 rows. For 16-bit layouts.
  void push_token(std::int32_t position, const float* key, const float* value);

  // The latest n tokens, at most kBlockTokens, leave as if they had not come; they came by push_token(), and
  // nothing else was done since.
  void withdraw(std::size_t n);

  // Forgets the first block; its memory serves the next push_block(), unless another segment shares it.
  void pop_front();

  // The tokens that stand before `end`: full blocks are shared, a last one that is not is copied. Segments
  // that share blocks must be used by one thread at a time.
  [[nodiscard]] Segment fork(std::int64_t end, AllocationCounter* counter) const;

  // Blocks that `tokens` tokens occupy when stored one after another.
  [[nodiscard]] static std::size_t blocks_for(std::size_t tokens) noexcept {
    return (tokens + kBlockTokens - 1) / kBlockTokens;
  }

 private:
  BlockLayout layout_;
  AllocationCounter* counter_ = nullptr;
  // Memory of neighbouring blocks.
  struct Slab {
    AlignedBuffer<std::byte> bytes;
    bool shared = false;  // with another segment, now or once
  };
  std::vector<std::byte*> index_;              // first used_ entries in order; the rest are spare
  std::vector<std::shared_ptr<Slab>> owners_;  // of each entry's memory
  std::size_t used_ = 0;
  std::size_t tokens_ = 0;
  bool fresh_ = false;  // the last block pushed brought its memory with it
};

}  // namespace thinkey
