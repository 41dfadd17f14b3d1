#include "backend/cpu/store/segment.h"

#include <algorithm>

#include "backend/cpu/store/block_codec.h"

namespace thinkey {

void Segment::reserve(std::size_t blocks) {
  if (blocks == 0) return;
  const auto slab = std::make_shared<Slab>();
  slab->bytes = AlignedBuffer<std::byte>(blocks * layout_.bytes, counter_);
  for (std::size_t i = 0; i < blocks; ++i) {
    index_.push_back(slab->bytes.data() + i * layout_.bytes);
    owners_.push_back(slab);
  }
}

std::byte* Segment::push_block(std::size_t tokens) {
  fresh_ = used_ == index_.size();
  if (fresh_) reserve(1);
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

void Segment::withdraw(std::size_t n) {
  tokens_ -= n;
  while (n > 0) {
    std::byte* block = index_[used_ - 1];
    std::size_t count = layout_.count(block);
    for (; n > 0 && count > 0; --n) clear_token(layout_, --count, block);
    if (count > 0) break;
    --used_;
    if (fresh_) {
      index_.pop_back();
      owners_.pop_back();
      fresh_ = false;
    }
  }
}

void Segment::pop_front() {
  tokens_ -= layout_.count(index_[0]);
  if (owners_[0]->shared) {
    index_.erase(index_.begin());
    owners_.erase(owners_.begin());
  } else {
    const auto used = static_cast<std::ptrdiff_t>(used_);
    std::rotate(index_.begin(), index_.begin() + 1, index_.begin() + used);
    std::rotate(owners_.begin(), owners_.begin() + 1, owners_.begin() + used);
  }
  --used_;
}

Segment Segment::fork(std::int64_t end, AllocationCounter* counter) const {
  Segment out(layout_, counter);
  for (std::size_t b = 0; b < used_; ++b) {
    const std::size_t count = layout_.count(index_[b]);
    std::size_t before = 0;
    while (before < count && layout_.position(index_[b], before) < end) ++before;
    if (before == 0) break;
    if (before == count && (count == kBlockTokens || b + 1 < used_)) {
      owners_[b]->shared = true;
      out.index_.push_back(index_[b]);
      out.owners_.push_back(owners_[b]);
      ++out.used_;
      out.tokens_ += count;
      continue;
    }
    std::byte* copy = out.push_block(before);
    std::copy_n(index_[b], layout_.bytes, copy);
    layout_.forget_after(copy, before);
    break;
  }
  return out;
}

}  // namespace thinkey
