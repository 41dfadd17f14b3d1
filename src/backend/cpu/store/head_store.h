// One KV head of one layer: a thin segment, and a recent segment of whole 16-bit tokens.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "backend/cpu/store/block_codec.h"
#include "backend/cpu/store/kept_keys.h"
#include "backend/cpu/store/segment.h"
#include "backend/layer_store.h"
#include "base/aligned_buffer.h"
#include "base/byte_stream.h"

namespace thinkey {

// Tokens enter `recent` whole and move to `thin` in blocks, reduced and quantized. When neither is
// asked for there is no difference between the two and everything lives in `thin`.
class HeadStore {
 public:
  // A head that has seen nothing and keeps every channel.
  HeadStore(std::size_t head_dim, const StoreFormat& format, AllocationCounter* counter);

  // Replaces the (empty) head's plan.
  void adopt(const HeadPlan& plan);
  [[nodiscard]] HeadPlan plan() const;

  // Stores the prompt tokens at positions `kept` (ascending); keys and values are [T, D].
  void fill(std::span<const std::int32_t> kept, TokenRows keys, TokenRows values);

  // Appends one token; what leaves the recent segment is compressed.
  void append(std::int32_t position, const float* key, const float* value);

  [[nodiscard]] const KeptKeys& kept_keys() const noexcept { return kept_keys_; }
  [[nodiscard]] std::span<const std::uint16_t> value_channels() const noexcept {
    return value_channels_.span();
  }
  [[nodiscard]] const Segment& thin() const noexcept { return thin_; }
  [[nodiscard]] const Segment& recent() const noexcept { return recent_; }
  [[nodiscard]] std::size_t tokens() const noexcept { return thin_.tokens() + recent_.tokens(); }
  [[nodiscard]] std::size_t bytes() const noexcept {
    return kept_keys_.bytes() + value_channels_.bytes() + thin_.bytes() + recent_.bytes();
  }

  // LayerStore::withdrawable(), but for windows, and withdraw().
  [[nodiscard]] std::size_t withdrawable() const;
  void withdraw(std::size_t n) { (format_.reduces ? recent_ : thin_).withdraw(n); }

  // The last position of the first block that reaches `position`; that itself where none does.
  [[nodiscard]] std::int64_t end_of_block(std::int64_t position) const;
  // Gives up blocks at the front whose tokens all stand before `position`.
  void forget_before(std::int64_t position);

  // Keeps only the thin tokens with these indices (ascending), in their order; re-encodes them.
  void keep_thin(std::span<const std::int32_t> indices);

  // Encodes the thin tokens anew in levels of other numbers of bits.
  void recode(ElementFormat keys, ElementFormat values);

  // The same head as it was when it had seen the tokens before `end`, in so far as it still holds them.
  [[nodiscard]] HeadStore fork(std::int64_t end, AllocationCounter* counter) const;

  void save(ByteWriter& out) const;
  // Into a head that has seen nothing; every token must stand before `next_position`.
  void restore(ByteReader& in, std::int64_t next_position);

  [[nodiscard]] static BlockLayout thin_layout(const KeyCounts& keys, std::size_t value_channels,
                                               ElementFormat values, const StoreFormat& format) noexcept;

 private:
  // Whether the spec can have left a head with so many key channels, of these formats, means of dropped ones,
  // and value channels: what the kernels assume of a file's lists.
  [[nodiscard]] bool plans(std::size_t keys, const KeyCounts& formats, std::size_t means,
                           std::size_t values) const noexcept;
  // Moves a block of the oldest recent tokens that are no sinks.
  void thin_oldest();
  // Writes staged whole tokens to the thin segment.
  void push_thin(const StagedBlock& whole);

  std::size_t head_dim_;
  StoreFormat format_;
  AllocationCounter* counter_;
  KeptKeys kept_keys_;
  AlignedBuffer<std::uint16_t> value_channels_;
  Segment thin_;
  Segment recent_;  // of which the first format_.sinks tokens stay
};

}  // namespace thinkey
