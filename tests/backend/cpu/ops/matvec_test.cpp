#include "backend/cpu/ops/matvec.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <memory>
#include <random>
#include <tuple>
#include <vector>

#include "backend/cpu/ops/dequantize.h"
#include "backend/cpu/ops/each_highway_target.h"
#include "backend/cpu/ops/quant_fixture.h"
#include "backend/cpu/ops/random_weights.h"
#include "base/parallel.h"

namespace thinkey {
namespace {

using test::random_vectors;
using test::random_weights;
using test::Weights;

// |y - reference| <= 1e-5 * sum |w x|, against double sums over the dequantized matrix.
void expect_product(const Weights& w, const float* x, std::size_t batch, const float* y) {
  std::vector<float> row(w.cols);
  for (std::size_t r = 0; r < w.rows; ++r) {
    widen_row(w.type, w.view().row(static_cast<std::size_t>(r)), w.cols, row.data());
    for (std::size_t b = 0; b < batch; ++b) {
      double sum = 0;
      double magnitude = 0;
      for (std::size_t c = 0; c < w.cols; ++c) {
        const double product = static_cast<double>(row[c]) * static_cast<double>(x[b * w.cols + c]);
        sum += product;
        magnitude += std::abs(product);
      }
      // Random signs make the sum about sqrt(cols) terms large, so this also is 1e-5 of its usual size.
      const double tolerance =
          1e-5 * std::max(std::abs(sum), magnitude / std::sqrt(static_cast<double>(w.cols) + 1));
      ASSERT_NEAR(static_cast<double>(y[b * w.rows + r]), sum, tolerance)
          << traits(w.type).name << " [" << w.rows << ", " << w.cols << "] row " << r << " vector " << b;
    }
  }
}

class Matvec : public testing::TestWithParam<TensorType> {};

INSTANTIATE_TEST_SUITE_P(EveryType, Matvec, testing::ValuesIn(test::all_types()),
                         [](const auto& type) { return std::string(traits(type.param).name); });

TEST_P(Matvec, RandomShapesAndBatches) {
  const std::size_t block = traits(GetParam()).block_elements;
  // Plain rows end anywhere; quantized ones are 1 to 20 blocks of 32 or 1 to 17 of 256 (two slices).
  const std::vector<std::size_t> blocks = block == 1    ? std::vector<std::size_t>{1, 31, 33, 515, 4133}
                                          : block == 32 ? std::vector<std::size_t>{1, 2, 20, 131}
                                                        : std::vector<std::size_t>{1, 2, 9, 17};
  for_each_highway_target([&] {
    std::mt19937 rng(11);
    for (const std::size_t count : blocks) {
      for (const std::size_t rows : {1, 3, 4, 9}) {
        const Weights w = random_weights(GetParam(), rows, count * block, rng);
        for (const std::size_t batch : {1, 2, 3, 4, 5, 6, 7, 8, 9}) {
          if (w.cols > 1000 && batch != 1 && batch != 5 && batch != 9) continue;
          const auto x = random_vectors(batch * w.cols, rng);
          const auto y = std::make_unique<float[]>(batch * rows);
          std::fill_n(y.get(), batch * rows, std::numeric_limits<float>::quiet_NaN());
          matvec(w.view(), x.get(), batch, y.get());
          expect_product(w, x.get(), batch, y.get());
        }
      }
    }
  });
}

TEST_P(Matvec, VectorsAloneHaveTheBitsOfOne) {
  for_each_highway_target([&] {
    std::mt19937 rng(13);
    const std::size_t cols = 4352;
    for (const std::size_t rows : {3, 9}) {
      const Weights w = random_weights(GetParam(), rows, cols, rng);
      const std::size_t batch = 5;
      const auto x = random_vectors(batch * cols, rng);
      std::vector<float> one(batch * rows);
      std::vector<float> all(batch * rows);
      for (std::size_t b = 0; b < batch; ++b) {
        matvec(w.view(), x.get() + b * cols, 1, one.data() + b * rows);
      }
      matvec(w.view(), x.get(), batch, all.data(), ActivationPrecision::F32, VectorOrder::Alone);
      EXPECT_EQ(all, one);
    }
  });
}

TEST_P(Matvec, ThreadCountChangesNothing) {
  std::mt19937 rng(12);
  const Weights w = random_weights(GetParam(), 333, 512, rng);
  for (const std::size_t batch : {1, 3}) {
    const auto x = random_vectors(batch * w.cols, rng);
    const auto serial = std::make_unique<float[]>(batch * w.rows);
    const auto parallel = std::make_unique<float[]>(batch * w.rows);
    const int before = threads();
    set_threads(1);
    matvec(w.view(), x.get(), batch, serial.get());
    set_threads(5);
    matvec(w.view(), x.get(), batch, parallel.get());
    set_threads(before);
    expect_product(w, x.get(), batch, parallel.get());
    for (std::size_t i = 0; i < batch * w.rows; ++i) ASSERT_EQ(serial[i], parallel[i]) << i;
  }
}

TEST(MatvecJobs, SeveralMatricesInOneCall) {
  std::mt19937 rng(13);
  const Weights q = random_weights(TensorType::Q4_K, 131, 768, rng);
  const Weights k = random_weights(TensorType::Q6_K, 37, 768, rng);
  const Weights none = random_weights(TensorType::Q6_K, 0, 768, rng);
  const Weights v = random_weights(TensorType::F16, 1, 768, rng);
  const int before = threads();
  set_threads(3);
  for (const std::size_t batch : {1, 2, 9}) {
    const auto x = random_vectors(batch * 768, rng);
    std::vector<std::unique_ptr<float[]>> y;
    std::vector<MatvecJob> jobs;
    for (const Weights* w : {&q, &k, &none, &v}) {
      y.push_back(std::make_unique<float[]>(batch * w->rows));
      jobs.push_back({w->view(), y.back().get()});
    }
    matvec(jobs.data(), jobs.size(), x.get(), batch);
    std::size_t i = 0;
    for (const Weights* w : {&q, &k, &none, &v}) expect_product(*w, x.get(), batch, y[i++].get());
  }
  set_threads(before);
}

TEST(MatvecJobs, NothingToDo) {
  matvec(nullptr, 0, nullptr, 1);
  std::mt19937 rng(14);
  const Weights w = random_weights(TensorType::Q8_0, 4, 32, rng);
  float untouched = 3.0F;
  matvec(w.view(), nullptr, 0, &untouched);
  EXPECT_EQ(untouched, 3.0F);
}

TEST(MatvecJobs, InsideParallelForItRunsOnTheCallingThread) {
  std::mt19937 rng(15);
  const Weights w = random_weights(TensorType::Q8_0, 300, 512, rng);
  const auto x = random_vectors(w.cols, rng);
  std::vector<std::vector<float>> y(4, std::vector<float>(w.rows));
  const int before = threads();
  set_threads(2);
  parallel_for(y.size(), [&](std::size_t i) { matvec(w.view(), x.get(), 1, y[i].data()); });
  set_threads(before);
  for (const auto& one : y) expect_product(w, x.get(), 1, one.data());
}

// A weight that is infinite in one row must not leak into its neighbours (tiles hold four rows).
TEST(MatvecJobs, RowsStaySeparate) {
  std::vector<float> weights(7 * 40, 1.0F);
  weights[3 * 40 + 5] = std::numeric_limits<float>::infinity();
  const MatrixView view{TensorType::F32, 7, 40, reinterpret_cast<const std::byte*>(weights.data())};
  for (const std::size_t batch : {1, 2, 5}) {
    const std::vector<float> x(batch * 40, 0.5F);
    std::vector<float> y(batch * 7);
    matvec(view, x.data(), batch, y.data());
    for (std::size_t b = 0; b < batch; ++b) {
      for (std::size_t r = 0; r < 7; ++r) {
        EXPECT_EQ(y[b * 7 + r], r == 3 ? std::numeric_limits<float>::infinity() : 20.0F);
      }
    }
  }
}

}  // namespace
}  // namespace thinkey
