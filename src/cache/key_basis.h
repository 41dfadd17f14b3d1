// How the thin segment of a KV head sees keys: D numbers reduced to D'.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/half.h"
#include "cache/block_codec.h"

namespace thinkey {

// Either a list of kept channels (ThinK), or a pair of maps key' = K k, query' = Q q whose product
// q' . k' stands for q . k (see rotation.h). Optionally a mean m of what reduction drops: q . m is
// then added to every thin logit.
class KeyBasis {
 public:
  KeyBasis() = default;

  static KeyBasis of_channels(std::span<const std::int32_t> kept, std::size_t head_dim,
                              AllocationCounter* counter);
  // Maps are [D', D], row-major.
  static KeyBasis of_maps(std::span<const float> key_map, std::span<const float> query_map,
                          std::size_t head_dim, AllocationCounter* counter);
  // From the tables that the accessors below gave; sizes must fit together.
  static KeyBasis restored(std::span<const std::uint16_t> channels, std::span<const f16_bits> key_map,
                           std::span<const f16_bits> query_map, std::span<const f16_bits> mean,
                           std::size_t head_dim, AllocationCounter* counter);
  // mean: [D]; on a channel list it must be zero on the kept channels.
  void set_mean(std::span<const float> mean, AllocationCounter* counter);

  [[nodiscard]] std::size_t size() const noexcept { return size_; }  // D'
  [[nodiscard]] std::size_t bytes() const noexcept;
  [[nodiscard]] bool rotated() const noexcept { return key_map_.size() > 0; }
  [[nodiscard]] std::span<const std::uint16_t> channels() const noexcept {
    return channels_.span();
  }  // empty if rotated

  // keys [D][32] -> out [D'][32]
  void reduce_keys(const float* keys, float* out) const;
  // One key or query [D] -> [D'].
  void reduce_key(const float* key, float* out) const;
  void reduce_query(const float* query, float* out) const;
  // q . m; 0 without a mean.
  [[nodiscard]] float bias(const float* query) const;
  [[nodiscard]] bool has_mean() const noexcept { return mean_.size() > 0; }

  // The stored tables, for saving and restoring (empty where absent).
  [[nodiscard]] std::span<const f16_bits> key_map() const noexcept { return key_map_.span(); }
  [[nodiscard]] std::span<const f16_bits> query_map() const noexcept { return query_map_.span(); }
  [[nodiscard]] std::span<const f16_bits> mean() const noexcept { return mean_.span(); }

 private:
  void multiply(const AlignedBuffer<f16_bits>& map, const float* x, float* out) const;

  std::size_t head_dim_ = 0;
  std::size_t size_ = 0;
  AlignedBuffer<std::uint16_t> channels_;        // [D'], ascending
  AlignedBuffer<f16_bits> key_map_, query_map_;  // [D', D]
  AlignedBuffer<f16_bits> mean_;                 // [D], or [D - D'] on the dropped channels of a list
};

}  // namespace thinkey
