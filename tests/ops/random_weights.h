// Random packed matrices of every file type, and vectors for them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <random>

#include "base/half.h"
#include "base/matrix_view.h"

namespace thinkey::test {

// Exactly sized, so that AddressSanitizer sees any access past the end.
struct Weights {
  TensorType type;
  std::size_t rows, cols;
  std::unique_ptr<std::byte[]> packed;

  [[nodiscard]] MatrixView view() const {
    return {type, static_cast<std::int64_t>(rows), static_cast<std::int64_t>(cols), packed.get()};
  }
};

// Random codes with small random f16 scales (never infinity or NaN).
inline Weights random_weights(TensorType type, std::size_t rows, std::size_t cols, std::mt19937& rng) {
  const std::size_t bytes = row_bytes(type, cols) * rows;
  Weights w{type, rows, cols, std::make_unique<std::byte[]>(bytes)};
  std::uniform_real_distribution<float> uniform(-1.0F, 1.0F);
  std::byte* data = w.packed.get();
  const auto put_half = [&](std::size_t at) {
    const f16_bits half = f16_from_f32(0.05F * uniform(rng));
    std::memcpy(data + at, &half, sizeof(half));
  };
  if (type == TensorType::F32 || type == TensorType::F16 || type == TensorType::BF16) {
    for (std::size_t i = 0; i < rows * cols; ++i) {
      const float v = uniform(rng);
      const std::uint16_t narrow = type == TensorType::F16 ? f16_from_f32(v) : bf16_from_f32(v);
      if (type == TensorType::F32) {
        std::memcpy(data + 4 * i, &v, 4);
      } else {
        std::memcpy(data + 2 * i, &narrow, 2);
      }
    }
    return w;
  }
  for (std::size_t i = 0; i < bytes; ++i) data[i] = static_cast<std::byte>(rng() & 0xFFU);
  const bool two_halves = type == TensorType::Q4_1 || type == TensorType::Q5_1 || type == TensorType::Q4_K ||
                          type == TensorType::Q5_K;
  for (std::size_t block = 0; block < bytes; block += traits(type).block_bytes) {
    put_half(block + (type == TensorType::Q6_K ? 208 : 0));
    if (two_halves) put_half(block + 2);
  }
  return w;
}

inline std::unique_ptr<float[]> random_vectors(std::size_t n, std::mt19937& rng) {
  std::normal_distribution<float> normal;
  auto x = std::make_unique<float[]>(n);
  for (std::size_t i = 0; i < n; ++i) x[i] = normal(rng);
  return x;
}

}  // namespace thinkey::test
