#include "backend/cpu/ops/matmul_int8.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "backend/cpu/ops/convert.h"
#include "backend/cpu/ops/dequantize.h"
#include "backend/cpu/ops/matvec_int8.h"
#include "backend/cpu/ops/random_weights.h"
#include "base/aligned_buffer.h"
#include "base/parallel.h"

namespace thinkey {
namespace {

using test::random_vectors;
using test::random_weights;
using test::Weights;

class MatmulInt8 : public testing::TestWithParam<TensorType> {
 protected:
  void SetUp() override {
    if (!cpu_multiplies_int8()) GTEST_SKIP() << "this CPU has no 8-bit products";
  }
};

INSTANTIATE_TEST_SUITE_P(QuantizedTypes, MatmulInt8,
                         testing::Values(TensorType::Q8_0, TensorType::Q4_0, TensorType::Q5_1,
                                         TensorType::Q4_K, TensorType::Q6_K, TensorType::Q2_K,
                                         TensorType::MXFP4, TensorType::IQ2_XS),
                         [](const auto& type) { return std::string(traits(type.param).name); });

struct Rows {
  Rows(const float* x, std::size_t rows, std::size_t width)
      : memory(int8_activation_bytes(rows, width)), view(int8_activations(memory.data(), rows, width)) {
    quantize_rows(x, rows, width, view);
  }
  [[nodiscard]] double at(std::size_t r, std::size_t i) const {
    return static_cast<double>(view.codes[r * view.depths * kInt8Depth + i]) *
           static_cast<double>(view.scales[r * view.depths + i / kInt8Depth]);
  }
  AlignedBuffer<std::byte> memory;
  Int8Activations view;
};

struct Panels {
  Panels(const Weights& w, std::size_t first, std::size_t cols)
      : memory(int8_weight_bytes(w.rows, cols)), view(int8_weights(memory.data(), w.rows, cols)) {
    quantize_columns(w.view(), first, cols, memory.data());
  }
  [[nodiscard]] double at(std::size_t r, std::size_t i) const {
    const std::size_t panel = r / kInt8Panel;
    const std::size_t depth = i / kInt8Depth;
    const std::size_t row = r % kInt8Panel;
    const std::size_t quad = i % kInt8Depth / 4;
    const int code = view.codes(panel, depth)[(quad * kInt8Panel + row) * 4 + i % 4] - 128;
    return code * static_cast<double>(view.scales(panel, depth)[row]);
  }
  AlignedBuffer<std::byte> memory;
  Int8Weights view;
};

// Whole depths and panels, parts of both, tiles of every height, a run of columns.
TEST_P(MatmulInt8, SumsTheProductsOfTheRoundedNumbers) {
  std::mt19937 rng(7);
  const std::size_t block = traits(GetParam()).block_elements;
  for (const std::size_t outputs : {64U, 130U, 7U}) {
    for (const std::size_t rows : {1U, 5U, 6U, 15U, 64U}) {
      const Weights w = random_weights(GetParam(), outputs, 3 * block, rng);
      for (const std::size_t first : {std::size_t{0}, block}) {
        const std::size_t cols = w.cols - first;
        const auto x = random_vectors(rows * cols, rng);
        const Rows a(x.get(), rows, cols);
        const Panels b(w, first, cols);
        const std::size_t stride = outputs + 3;
        std::vector<float> y(rows * stride, 0.5F);
        matmul_int8(a.view, rows, b.view, y.data(), stride);
        for (std::size_t r = 0; r < rows; ++r) {
          for (std::size_t o = 0; o < outputs; ++o) {
            double sum = 0;
            double magnitude = 1;
            for (std::size_t i = 0; i < cols; ++i) {
              sum += a.at(r, i) * b.at(o, i);
              magnitude += std::abs(a.at(r, i) * b.at(o, i));
            }
            ASSERT_NEAR(static_cast<double>(y[r * stride + o]), sum, 1e-6 * magnitude) << r << ' ' << o;
          }
          for (std::size_t o = outputs; o < stride; ++o) ASSERT_EQ(y[r * stride + o], 0.5F);
        }
      }
    }
  }
}

TEST_P(MatmulInt8, RoundsToHalfAStepOf127) {
  std::mt19937 rng(8);
  const std::size_t cols = 2 * traits(GetParam()).block_elements;
  const Weights w = random_weights(GetParam(), 70, cols, rng);
  const Panels panels(w, 0, cols);
  const auto x = random_vectors(3 * cols, rng);
  const Rows rows(x.get(), 3, cols);
  const auto expect_near = [&](const float* exact, const auto& rounded, std::size_t r) {
    for (std::size_t d = 0; d < cols; d += kInt8Depth) {
      float largest = 0;
      const std::size_t end = std::min(cols, d + kInt8Depth);
      for (std::size_t i = d; i < end; ++i) largest = std::max(largest, std::abs(exact[i]));
      for (std::size_t i = d; i < end; ++i) {
        ASSERT_NEAR(rounded.at(r, i), static_cast<double>(exact[i]),
                    0.5001 * static_cast<double>(largest) / 127);
      }
    }
  };
  std::vector<float> exact(cols);
  for (std::size_t r = 0; r < w.rows; ++r) {
    widen_row(w.type, w.view().row(static_cast<std::size_t>(r)), cols, exact.data());
    expect_near(exact.data(), panels, r);
  }
  for (std::size_t r = 0; r < 3; ++r) expect_near(x.get() + r * cols, rows, r);
}

// Some panels and some depths of weights that lie in memory whole, the last of both among them.
TEST_P(MatmulInt8, PartsAreWhatTheyWouldBeAlone) {
  std::mt19937 rng(10);
  constexpr std::size_t kOutputs = 150;
  constexpr std::size_t kRows = 13;
  const std::size_t cols =
      1280 - 32 / traits(GetParam()).block_elements * 32;  // 32-blocks: half a depth at the end
  const Weights w = random_weights(GetParam(), kOutputs, cols, rng);
  const Panels whole(w, 0, cols);
  for (const std::size_t row : {0U, 64U, 128U}) {
    for (const std::size_t first : {0U, 256U, 1024U}) {
      const std::size_t outputs = std::min<std::size_t>(kInt8Panel, kOutputs - row);
      const std::size_t count = std::min<std::size_t>(512, cols - first);
      const auto x = random_vectors(kRows * count, rng);
      const Rows a(x.get(), kRows, count);
      const MatrixView some = w.view().some_rows(row, outputs);
      AlignedBuffer<std::byte> memory(int8_weight_bytes(outputs, count));
      quantize_columns(some, first, count, memory.data());
      std::vector<float> alone(kRows * outputs);
      std::vector<float> part(kRows * outputs);
      matmul_int8(a.view, kRows, int8_weights(memory.data(), outputs, count), alone.data(), outputs);
      matmul_int8(a.view, kRows, whole.view.part(row, outputs, first, count), part.data(), outputs);
      EXPECT_EQ(part, alone) << row << ' ' << first;
    }
  }
}

TEST_P(MatmulInt8, ThreadsDoNotChangeTheSums) {
  std::mt19937 rng(9);
  const Weights w = random_weights(GetParam(), 192, 256, rng);
  const auto x = random_vectors(std::size_t{100} * 256, rng);
  const Panels panels(w, 0, 256);
  const Rows rows(x.get(), 100, 256);
  const auto product = [&](int n) {
    set_threads(n);
    std::vector<float> y(std::size_t{100} * 192);
    matmul_int8(rows.view, 100, panels.view, y.data(), 192);
    return y;
  };
  const std::vector<float> one = product(1);
  EXPECT_EQ(product(3), one);
  set_threads(available_cores());
}

TEST_P(MatmulInt8, TakesRowsInBf16AndShowsWhatIsNotANumber) {
  std::mt19937 rng(10);
  auto x = random_vectors(2 * 96, rng);
  std::vector<bf16_bits> half(2 * 96);
  f32_to_bf16(x.get(), half.size(), half.data());
  for (std::size_t i = 0; i < half.size(); ++i) x[i] = f32_from_bf16(half[i]);
  const Rows wide(x.get(), 2, 96);
  AlignedBuffer<std::byte> memory(int8_activation_bytes(2, 96));
  const Int8Activations narrow = int8_activations(memory.data(), 2, 96);
  quantize_rows(half.data(), 2, 96, narrow);
  EXPECT_EQ(std::vector(narrow.codes, narrow.codes + 256),
            std::vector(wide.view.codes, wide.view.codes + 256));
  EXPECT_EQ(std::vector(narrow.sums, narrow.sums + 4), std::vector(wide.view.sums, wide.view.sums + 4));

  x[70] = std::numeric_limits<float>::infinity();
  x[96] = 0;
  const Rows broken(x.get(), 2, 96);
  const Weights w = random_weights(TensorType::Q8_0, 3, 96, rng);
  const Panels panels(w, 0, 96);
  float y[6];
  matmul_int8(broken.view, 2, panels.view, y, 3);
  EXPECT_TRUE(std::isnan(y[0]) && std::isnan(y[2]));
  EXPECT_TRUE(std::isfinite(y[3]) && std::isfinite(y[5]));
}

}  // namespace
}  // namespace thinkey
