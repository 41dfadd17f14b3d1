// Random packed matrices of every file type, and vectors for them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <random>
#include <vector>

#include "base/half.h"
#include "base/matrix_view.h"

namespace thinkey::test {

// Exactly sized, so that AddressSanitizer sees any access past the end.
struct Weights {
  TensorType type;
  std::size_t rows, cols;
  std::unique_ptr<std::byte[]> packed;

  [[nodiscard]] MatrixView view() const {
    return {type, static_cast<std::size_t>(rows), static_cast<std::size_t>(cols), packed.get()};
  }
};

// Where a block's f16 scales and minima lie.
inline std::vector<std::size_t> half_fields(TensorType type) {
  switch (type) {
    case TensorType::Q4_1:
    case TensorType::Q5_1:
    case TensorType::Q4_K:
    case TensorType::Q5_K:
      return {0, 2};
    case TensorType::Q6_K:
      return {208};
    case TensorType::Q2_K:
      return {80, 82};
    case TensorType::Q3_K:
      return {108};
    case TensorType::MXFP4:
    case TensorType::IQ1_M:
      return {};
    default:
      return {0};
  }
}

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
      const std::uint16_t narrow = type == TensorType::F16 ? f16_from_f32(v).bits : bf16_from_f32(v).bits;
      if (type == TensorType::F32) {
        std::memcpy(data + 4 * i, &v, 4);
      } else {
        std::memcpy(data + 2 * i, &narrow, 2);
      }
    }
    return w;
  }
  for (std::size_t i = 0; i < bytes; ++i) data[i] = static_cast<std::byte>(rng() & 0xFFU);
  const std::size_t block_bytes = traits(type).block_bytes;
  for (std::size_t block = 0; block < bytes; block += block_bytes) {
    if (type == TensorType::MXFP4) data[block] = static_cast<std::byte>(116 + rng() % 8);
    if (type == TensorType::IQ1_M) {  // its f16 lies in pieces: some number from 2^-7 to 2^-6
      for (std::size_t j = 0; j < 4; ++j) {
        const unsigned quarter = j == 3 ? 2U : static_cast<unsigned>(rng() & 15U);
        std::byte& top = data[block + 49 + 2 * j];
        top = (top & std::byte{0x0F}) | static_cast<std::byte>(quarter << 4U);
      }
    }
    for (const std::size_t at : half_fields(type)) put_half(block + at);
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
