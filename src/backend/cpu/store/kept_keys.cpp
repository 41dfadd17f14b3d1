#include "backend/cpu/store/kept_keys.h"

#include <algorithm>
#include <vector>

#include "backend/cpu/store/levels.h"

namespace thinkey {
namespace {

// Calls body(i, channel) for every channel that is not kept, ascending; where all have means, for all.
template <typename Body>
void for_means(std::span<const std::uint16_t> kept, std::size_t head_dim, bool all, const Body& body) {
  if (all) {
    for (std::size_t c = 0; c < head_dim; ++c) body(c, c);
    return;
  }
  thread_local std::vector<char> is_kept;  // no allocation per query
  is_kept.assign(head_dim, 0);
  for (const std::uint16_t c : kept) is_kept[c] = 1;
  std::size_t i = 0;
  for (std::size_t c = 0; c < head_dim; ++c) {
    if (is_kept[c] == 0) body(i++, c);
  }
}

}  // namespace

KeptKeys::KeptKeys(const KeyPlan& plan, std::size_t head_dim, AllocationCounter* counter)
    : head_dim_(head_dim), formats_(plan.formats), channels_(plan.channels.size(), counter) {
  for (std::size_t f = 0; f < kElementFormats; ++f) {
    rotated_ = rotated_ || (is_level(static_cast<ElementFormat>(f)) && formats_[f] > 0);
  }
  std::transform(plan.channels.begin(), plan.channels.end(), channels_.data(),
                 [](std::int32_t c) { return static_cast<std::uint16_t>(c); });
}

void KeptKeys::set_mean(std::span<const float> mean, AllocationCounter* counter) {
  mean_ = AlignedBuffer<f16_bits>(means(head_dim_, size(), rotated_), counter);
  for_means(channels(), head_dim_, rotated_,
            [&](std::size_t i, std::size_t c) { mean_[i] = f16_from_f32(mean[c]); });
}

void KeptKeys::restore_mean(std::span<const f16_bits> mean, AllocationCounter* counter) {
  mean_ = AlignedBuffer<f16_bits>(mean.size(), counter);
  std::copy(mean.begin(), mean.end(), mean_.data());
}

std::vector<float> KeptKeys::whole_mean() const {
  if (!has_mean()) return {};
  std::vector<float> whole(head_dim_, 0.0F);
  for_means(channels(), head_dim_, rotated_,
            [&](std::size_t i, std::size_t c) { whole[c] = f32_from_f16(mean_[i]); });
  return whole;
}

void KeptKeys::reduce_keys(const float* keys, float* out) const {
  for (std::size_t j = 0; j < size(); ++j) {
    const std::size_t c = channels_[j];
    std::copy_n(keys + c * kBlockTokens, kBlockTokens, out + j * kBlockTokens);
    if (!rotated_ || !has_mean()) continue;
    const float mean = f32_from_f16(mean_[c]);
    for (std::size_t t = 0; t < kBlockTokens; ++t) out[j * kBlockTokens + t] -= mean;
  }
  if (rotated_) rotate(out, size(), kBlockTokens);
}

void KeptKeys::restore_keys(float* reduced, float* keys) const {
  if (rotated_) rotate(reduced, size(), kBlockTokens);  // is its own inverse
  for (std::size_t j = 0; j < size(); ++j) {
    std::copy_n(reduced + j * kBlockTokens, kBlockTokens, keys + channels_[j] * kBlockTokens);
  }
}

void KeptKeys::reduce_query(const float* query, float* out) const {
  for (std::size_t j = 0; j < size(); ++j) out[j] = query[channels_[j]];
  if (rotated_) rotate(out, size());
}

float KeptKeys::bias(const float* query) const {
  float sum = 0.0F;
  if (!has_mean()) return sum;
  for_means(channels(), head_dim_, rotated_,
            [&](std::size_t i, std::size_t c) { sum += query[c] * f32_from_f16(mean_[i]); });
  return sum;
}

}  // namespace thinkey
