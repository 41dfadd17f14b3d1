#include "backend/cpu/store/segment.h"

#include <algorithm>

#include "backend/cpu/store/block_codec.h"

namespace thinkey {

void Segment::reserve(std::size_t blocks) {
  if (blocks == 0) return;
  slabs_.emplace_back(blocks * layout_.bytes, counter_);
  allocated_ += slabs_.back().bytes();
  for (std::size_t i = 0; i < blocks; ++i) index_.push_back(slabs_.back().data() + i * layout_.bytes);
}

std::byte* Segment::push_block(std::size_t tokens) {
  if (used_ == index_.size()) reserve(1);
  tokens_ += tokens;
  return index_[used_++];
}

void Segment::push_token(std::int32_t position, const float* key, const float* value) {
  std::size_t slot = used_ == 0 ? kBlockTokens : layout_.count(index_[used_ - 1]);
  if (slot == kBlockTokens) {
    layout_.clear(push_block(0));
    slot = 0;
  }
  std::byte* block = index_[used_ - 1];
  put_token(layout_, slot, position, key, value, block);
  ++tokens_;
}

void Segment::pop_front() {
  tokens_ -= layout_.count(index_[0]);
  std::rotate(index_.begin(), index_.begin() + 1, index_.begin() + static_cast<std::ptrdiff_t>(used_));
  --used_;
}

}  // namespace thinkey
