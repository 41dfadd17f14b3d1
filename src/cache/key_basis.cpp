#include "cache/key_basis.h"

#include <algorithm>

namespace thinkey {
namespace {

AlignedBuffer<f16_bits> halves(std::span<const float> x, AllocationCounter* counter) {
  AlignedBuffer<f16_bits> out(x.size(), counter);
  std::transform(x.begin(), x.end(), out.data(), f16_from_f32);
  return out;
}

// Calls body(i, channel) for every channel that is not in the ascending list.
template <typename Body>
void for_dropped(std::span<const std::uint16_t> kept, std::size_t head_dim, const Body& body) {
  std::size_t next = 0;
  std::size_t i = 0;
  for (std::size_t c = 0; c < head_dim; ++c) {
    if (next < kept.size() && kept[next] == c) {
      ++next;
    } else {
      body(i++, c);
    }
  }
}

}  // namespace

KeyBasis KeyBasis::of_channels(std::span<const std::int32_t> kept, std::size_t head_dim,
                               AllocationCounter* counter) {
  KeyBasis basis;
  basis.head_dim_ = head_dim;
  basis.size_ = kept.size();
  basis.channels_ = AlignedBuffer<std::uint16_t>(kept.size(), counter);
  std::transform(kept.begin(), kept.end(), basis.channels_.data(),
                 [](std::int32_t c) { return static_cast<std::uint16_t>(c); });
  return basis;
}

KeyBasis KeyBasis::of_maps(std::span<const float> key_map, std::span<const float> query_map,
                           std::size_t head_dim, AllocationCounter* counter) {
  KeyBasis basis;
  basis.head_dim_ = head_dim;
  basis.size_ = key_map.size() / head_dim;
  basis.key_map_ = halves(key_map, counter);
  basis.query_map_ = halves(query_map, counter);
  return basis;
}

KeyBasis KeyBasis::restored(std::span<const std::uint16_t> channels, std::span<const f16_bits> key_map,
                            std::span<const f16_bits> query_map, std::span<const f16_bits> mean,
                            std::size_t head_dim, AllocationCounter* counter) {
  const auto copied = [&](std::span<const std::uint16_t> x) {
    AlignedBuffer<std::uint16_t> out(x.size(), counter);
    std::copy(x.begin(), x.end(), out.data());
    return out;
  };
  KeyBasis basis;
  basis.head_dim_ = head_dim;
  basis.size_ = key_map.empty() ? channels.size() : key_map.size() / head_dim;
  basis.channels_ = copied(channels);
  basis.key_map_ = copied(key_map);
  basis.query_map_ = copied(query_map);
  basis.mean_ = copied(mean);
  return basis;
}

void KeyBasis::set_mean(std::span<const float> mean, AllocationCounter* counter) {
  if (rotated()) {
    mean_ = halves(mean, counter);
    return;
  }
  mean_ = AlignedBuffer<f16_bits>(head_dim_ - size_, counter);
  for_dropped(channels(), head_dim_, [&](std::size_t i, std::size_t c) { mean_[i] = f16_from_f32(mean[c]); });
}

std::size_t KeyBasis::bytes() const noexcept {
  return channels_.bytes() + key_map_.bytes() + query_map_.bytes() + mean_.bytes();
}

void KeyBasis::reduce_keys(const float* keys, float* out) const {
  if (!rotated()) {
    for (std::size_t j = 0; j < size_; ++j) {
      std::copy_n(keys + channels_[j] * kBlockTokens, kBlockTokens, out + j * kBlockTokens);
    }
    return;
  }
  std::fill_n(out, size_ * kBlockTokens, 0.0F);
  for (std::size_t j = 0; j < size_; ++j) {
    for (std::size_t c = 0; c < head_dim_; ++c) {
      const float weight = f32_from_f16(key_map_[j * head_dim_ + c]);
      for (std::size_t t = 0; t < kBlockTokens; ++t) {
        out[j * kBlockTokens + t] += weight * keys[c * kBlockTokens + t];
      }
    }
  }
}

void KeyBasis::multiply(const AlignedBuffer<f16_bits>& map, const float* x, float* out) const {
  for (std::size_t j = 0; j < size_; ++j) {
    float sum = 0.0F;
    for (std::size_t c = 0; c < head_dim_; ++c) sum += f32_from_f16(map[j * head_dim_ + c]) * x[c];
    out[j] = sum;
  }
}

void KeyBasis::reduce_key(const float* key, float* out) const {
  if (rotated()) {
    multiply(key_map_, key, out);
  } else {
    for (std::size_t j = 0; j < size_; ++j) out[j] = key[channels_[j]];
  }
}

void KeyBasis::reduce_query(const float* query, float* out) const {
  if (rotated()) {
    multiply(query_map_, query, out);
  } else {
    for (std::size_t j = 0; j < size_; ++j) out[j] = query[channels_[j]];
  }
}

float KeyBasis::bias(const float* query) const {
  float sum = 0.0F;
  if (mean_.size() == 0) return sum;
  if (rotated()) {
    for (std::size_t c = 0; c < head_dim_; ++c) sum += query[c] * f32_from_f16(mean_[c]);
  } else {
    for_dropped(channels(), head_dim_,
                [&](std::size_t i, std::size_t c) { sum += query[c] * f32_from_f16(mean_[i]); });
  }
  return sum;
}

}  // namespace thinkey
