// How the thin segment of a KV head sees keys: D channels reduced to D'.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "backend/cpu/store/block_codec.h"
#include "base/aligned_buffer.h"
#include "base/half.h"

namespace thinkey {

// The kept channels (ThinK), and optionally the mean m of the dropped ones: q . m is then added to every
// thin logit. Where they are stored as levels, every channel's mean, which is taken away from kept channels,
// and a rotation of what remains (TurboQuant).
class KeptKeys {
 public:
  KeptKeys() = default;
  KeptKeys(const KeyPlan& plan, std::size_t head_dim, AllocationCounter* counter);

  // mean: [D]; unless rotated(), what it says of kept channels does not matter.
  void set_mean(std::span<const float> mean, AllocationCounter* counter);

  [[nodiscard]] std::size_t size() const noexcept { return channels_.size(); }  // D'
  [[nodiscard]] std::size_t bytes() const noexcept { return channels_.bytes() + mean_.bytes(); }
  [[nodiscard]] std::span<const std::uint16_t> channels() const noexcept { return channels_.span(); }
  [[nodiscard]] const KeyCounts& formats() const noexcept { return formats_; }
  [[nodiscard]] bool rotated() const noexcept { return rotated_; }
  // Of so many kept channels, how many means are kept.
  [[nodiscard]] static std::size_t means(std::size_t head_dim, std::size_t kept, bool rotated) noexcept {
    return rotated ? head_dim : head_dim - kept;
  }

  // Levels of another number of bits.
  void set_levels(ElementFormat format) noexcept { formats_ = uniform_keys(size(), format); }

  // keys [D][32] -> out [D'][32], and back without the mean; other channels of `keys` are left as they are.
  void reduce_keys(const float* keys, float* out) const;
  void restore_keys(float* reduced, float* keys) const;  // changes `reduced`
  // One query [D] -> [D'].
  void reduce_query(const float* query, float* out) const;
  // q . m; 0 without a mean.
  [[nodiscard]] float bias(const float* query) const;
  [[nodiscard]] bool has_mean() const noexcept { return mean_.size() > 0; }

  [[nodiscard]] std::span<const f16_bits> mean() const noexcept { return mean_.span(); }  // to be saved
  void restore_mean(std::span<const f16_bits> mean, AllocationCounter* counter);          // of that size
  // [D], 0 where none is kept; empty without a mean.
  [[nodiscard]] std::vector<float> whole_mean() const;

 private:
  std::size_t head_dim_ = 0;
  KeyCounts formats_{};
  bool rotated_ = false;
  AlignedBuffer<std::uint16_t> channels_;  // [D']
  AlignedBuffer<f16_bits> mean_;           // [means()], in ascending order
};

}  // namespace thinkey
