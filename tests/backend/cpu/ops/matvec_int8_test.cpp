#include "backend/cpu/ops/matvec_int8.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cfloat>
#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <tuple>
#include <vector>

#include "backend/cpu/ops/dequantize.h"
#include "backend/cpu/ops/matvec.h"
#include "backend/cpu/ops/packed_matrix.h"
#include "backend/cpu/ops/quant_fixture.h"
#include "backend/cpu/ops/random_weights.h"
#include "base/aligned_buffer.h"
#include "base/parallel.h"

namespace thinkey {
namespace {

using test::random_vectors;
using test::random_weights;
using test::Weights;

constexpr auto kInt8 = ActivationPrecision::Int8;

std::vector<float> dequantized(const Weights& w) {
  std::vector<float> out(w.rows * w.cols);
  for (std::size_t r = 0; r < w.rows; ++r) {
    widen_row(w.type, w.view().row(static_cast<std::size_t>(r)), w.cols, out.data() + r * w.cols);
  }
  return out;
}

// The activations as the products see them.
std::vector<double> rounded(const float* x, std::size_t n) {
  AlignedBuffer<Int8Group> groups((n + kInt8Group - 1) / kInt8Group);
  quantize_activations(x, n, groups.data());
  std::vector<double> out(n);
  for (std::size_t i = 0; i < n; ++i) {
    const Int8Group& group = groups[i / kInt8Group];
    const std::size_t at = i % kInt8Group;
    out[i] = static_cast<double>(group.codes[at]) * static_cast<double>(group.scales[at / kInt8Block]);
  }
  return out;
}

// Against double sums over the dequantized weights and the rounded activations. Codes are unsigned in
// the kernels and the offset is subtracted at the end, so more cancels than in the f32 products.
void expect_exact_product(const Weights& w, const float* x, std::size_t batch, const float* y) {
  const std::vector<float> weights = dequantized(w);
  for (std::size_t b = 0; b < batch; ++b) {
    const std::vector<double> xb = rounded(x + b * w.cols, w.cols);
    for (std::size_t r = 0; r < w.rows; ++r) {
      double sum = 0;
      double magnitude = 0;
      for (std::size_t c = 0; c < w.cols; ++c) {
        const double product = static_cast<double>(weights[r * w.cols + c]) * xb[c];
        sum += product;
        magnitude += std::abs(product);
      }
      const double tolerance =
          1e-5 * std::max(std::abs(sum), magnitude / std::sqrt(static_cast<double>(w.cols) + 1));
      ASSERT_NEAR(static_cast<double>(y[b * w.rows + r]), sum, tolerance)
          << traits(w.type).name << " [" << w.rows << ", " << w.cols << "] row " << r << " vector " << b;
    }
  }
}

// Each type as the file has it and packed for decode.
class MatvecInt8 : public testing::TestWithParam<std::tuple<TensorType, bool>> {
 protected:
  void SetUp() override {
    if (!cpu_multiplies_int8()) GTEST_SKIP() << "this CPU has no 8-bit products";
  }
  static TensorType type() { return std::get<0>(GetParam()); }
  // Valid until the next call.
  MatrixView arranged(const Weights& w) {
    MatrixView view = w.view();
    if (!std::get<1>(GetParam())) return view;
    packed_ = AlignedBuffer<std::byte>(packed_bytes(w.type, w.rows, w.cols));
    pack_matrix(view, packed_.data());
    view.packed = packed_.data();
    return view;
  }

 private:
  AlignedBuffer<std::byte> packed_;
};

INSTANTIATE_TEST_SUITE_P(QuantizedTypes, MatvecInt8,
                         testing::Combine(testing::ValuesIn(test::all_types(false)), testing::Bool()),
                         [](const auto& p) {
                           return std::string(traits(std::get<0>(p.param)).name) +
                                  (std::get<1>(p.param) ? "_packed" : "");
                         });

TEST_P(MatvecInt8, RandomShapesAndBatches) {
  // One block to several groups, ends inside a group, and rows of more than one slice of vectors.
  const std::vector<std::size_t> columns = traits(type()).block_elements == 32
                                               ? std::vector<std::size_t>{32, 64, 224, 256, 640, 4192, 17056}
                                               : std::vector<std::size_t>{256, 512, 2304, 4352, 16896};
  std::mt19937 rng(21);
  for (const std::size_t cols : columns) {
    for (const std::size_t rows : {1, 3, 16, 19, 33}) {
      if (cols > 1000 && rows != 3 && rows != 19) continue;
      const Weights w = random_weights(type(), rows, cols, rng);
      const MatrixView view = arranged(w);
      for (const std::size_t batch : {1, 2, 3, 4, 5, 6, 7, 8, 9}) {
        if (cols > 1000 && batch != 1 && batch != 7) continue;
        const auto x = random_vectors(batch * cols, rng);
        const auto y = std::make_unique<float[]>(batch * rows);
        std::fill_n(y.get(), batch * rows, std::numeric_limits<float>::quiet_NaN());
        matvec(view, x.get(), batch, y.get(), kInt8);
        expect_exact_product(w, x.get(), batch, y.get());
      }
    }
  }
}

// Several vectors in one call get the bits that each gets alone: what decoding ahead stands on.
TEST_P(MatvecInt8, AVectorsBitsDoNotDependOnTheOthers) {
  std::mt19937 rng(23);
  for (const std::size_t cols :
       {std::size_t{256}, std::size_t{2304}, std::size_t{4352}, std::size_t{16896}}) {
    const std::size_t rows = 35;
    const Weights w = random_weights(type(), rows, cols, rng);
    const MatrixView view = arranged(w);
    const std::size_t most = 9;
    const auto x = random_vectors(most * cols, rng);
    std::vector<float> alone(most * rows);
    for (std::size_t b = 0; b < most; ++b) {
      matvec(view, x.get() + b * cols, 1, alone.data() + b * rows, kInt8);
    }
    for (std::size_t batch = 2; batch <= most; ++batch) {
      std::vector<float> y(batch * rows);
      matvec(view, x.get(), batch, y.data(), kInt8);
      EXPECT_TRUE(std::equal(y.begin(), y.end(), alone.begin()))
          << cols << " columns, " << batch << " vectors";
    }
  }
}

// Fixtures are real quantized rows, unlike the random bytes above.
TEST_P(MatvecInt8, QuantizedRowsOfTheFixtures) {
  const test::QuantFixture fixture = test::load_quant_fixture(type());
  Weights w{fixture.type, fixture.rows, fixture.cols, std::make_unique<std::byte[]>(fixture.packed.size())};
  std::copy(fixture.packed.begin(), fixture.packed.end(), w.packed.get());
  const MatrixView view = arranged(w);
  std::mt19937 rng(22);
  const auto x = random_vectors(w.cols, rng);
  const auto y = std::make_unique<float[]>(w.rows);
  matvec(view, x.get(), 1, y.get(), kInt8);
  expect_exact_product(w, x.get(), 1, y.get());
}

// Rounding errors are independent and at most half a step of largest / 127, so a product of normal
// vectors is off by about 0.6 % of its usual size.
TEST_P(MatvecInt8, CloseToF32) {
  std::mt19937 rng(23);
  const Weights w = random_weights(type(), 64, 2048, rng);
  const MatrixView view = arranged(w);
  const auto x = random_vectors(2048, rng);
  std::vector<float> exact(64);
  std::vector<float> rough(64);
  matvec(view, x.get(), 1, exact.data(), ActivationPrecision::F32);
  matvec(view, x.get(), 1, rough.data(), kInt8);
  double squared_error = 0;
  double squared = 0;
  for (std::size_t r = 0; r < 64; ++r) {
    squared_error += std::pow(static_cast<double>(exact[r]) - static_cast<double>(rough[r]), 2);
    squared += std::pow(static_cast<double>(exact[r]), 2);
  }
  const double error = std::sqrt(squared_error / squared);
  EXPECT_LT(error, 0.01);
  EXPECT_GT(error, 1e-4) << "these are f32 products";
}

TEST_P(MatvecInt8, ThreadCountChangesNothing) {
  std::mt19937 rng(24);
  const Weights w = random_weights(type(), 333, 512, rng);
  const MatrixView view = arranged(w);
  const auto x = random_vectors(3 * w.cols, rng);
  std::vector<float> serial(3 * w.rows);
  std::vector<float> parallel(3 * w.rows);
  const int before = threads();
  set_threads(1);
  matvec(view, x.get(), 3, serial.data(), kInt8);
  set_threads(5);
  matvec(view, x.get(), 3, parallel.data(), kInt8);
  set_threads(before);
  EXPECT_EQ(serial, parallel);
}

TEST_P(MatvecInt8, ExtremeActivations) {
  std::mt19937 rng(25);
  const Weights w = random_weights(type(), 5, 512, rng);
  const MatrixView view = arranged(w);
  const auto normal = random_vectors(w.cols, rng);
  std::vector<float> y(w.rows);
  for (const float scale : {0.0F, 1e-42F, 1e-36F, 1e-30F, 1e30F}) {
    std::vector<float> x(w.cols);
    for (std::size_t i = 0; i < x.size(); ++i) x[i] = scale * normal[i];
    // Blocks of very different size side by side.
    for (std::size_t i = 64; i < 96; ++i) x[i] = normal[i];
    matvec(view, x.data(), 1, y.data(), kInt8);
    expect_exact_product(w, x.data(), 1, y.data());
  }
}

TEST_P(MatvecInt8, WhatIsNotFiniteStaysInItsVectorAndShows) {
  std::mt19937 rng(26);
  const Weights w = random_weights(type(), 5, 512, rng);
  const MatrixView view = arranged(w);
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
                          -std::numeric_limits<float>::infinity()}) {
    const auto x = random_vectors(3 * w.cols, rng);
    x[w.cols + 300] = bad;
    std::vector<float> y(3 * w.rows);
    matvec(view, x.get(), 3, y.data(), kInt8);
    for (std::size_t r = 0; r < w.rows; ++r) EXPECT_TRUE(std::isnan(y[w.rows + r])) << r;
    expect_exact_product(w, x.get(), 1, y.data());
    expect_exact_product(w, x.get() + 2 * w.cols, 1, y.data() + 2 * w.rows);
  }
}

TEST_P(MatvecInt8, AnInfiniteRowStaysInItsRow) {
  std::mt19937 rng(27);
  Weights w = random_weights(type(), 5, 512, rng);
  const std::size_t stride = row_bytes(w.type, w.cols);
  std::byte* row = w.packed.get() + 2 * stride;
  if (type() == TensorType::MXFP4) GTEST_SKIP() << "has no infinity";
  if (type() == TensorType::IQ1_M) {  // the four quarters of 0x7C00, lowest first
    for (const std::size_t j : {0, 1}) row[49 + 2 * j] &= std::byte{0x0F};
    row[53] = (row[53] & std::byte{0x0F}) | std::byte{0xC0};
    row[55] = (row[55] & std::byte{0x0F}) | std::byte{0x70};
  } else {
    const std::size_t scale = test::half_fields(type()).front();
    row[scale + 1] = std::byte{0x7C};
    row[scale] = std::byte{0};
  }
  const MatrixView view = arranged(w);
  const auto x = random_vectors(2 * w.cols, rng);
  std::vector<float> y(2 * w.rows);
  matvec(view, x.get(), 2, y.data(), kInt8);
  for (std::size_t i = 0; i < y.size(); ++i) EXPECT_EQ(std::isfinite(y[i]), i % w.rows != 2) << i;
}

class QuantizeActivations : public MatvecInt8 {};
INSTANTIATE_TEST_SUITE_P(Once, QuantizeActivations, testing::Values(std::tuple(TensorType::Q8_0, false)));

TEST_P(QuantizeActivations, ErrorIsHalfAStepAndSumsAreOfTheCodes) {
  std::mt19937 rng(28);
  constexpr std::size_t kSize = 256 + 96;
  const auto x = random_vectors(kSize, rng);
  for (std::size_t i = 32; i < 64; ++i) x[i] *= 1000.0F;
  AlignedBuffer<Int8Group> groups(2);
  quantize_activations(x.get(), kSize, groups.data());
  for (std::size_t block = 0; block < kSize / 32; ++block) {
    const Int8Group& group = groups[block / 8];
    const std::size_t at = block % 8;
    const float scale = group.scales[at];
    float largest = 0;
    for (std::size_t i = 0; i < 32; ++i) largest = std::max(largest, std::abs(x[32 * block + i]));
    EXPECT_FLOAT_EQ(scale, largest / 127);
    std::array<int, 2> sums{};
    for (std::size_t i = 0; i < 32; ++i) {
      const auto code = static_cast<int>(group.codes[32 * at + i]);
      sums[i / 16] += code;
      EXPECT_LE(std::abs(x[32 * block + i] - scale * static_cast<float>(code)), 0.5001F * scale);
    }
    EXPECT_FLOAT_EQ(group.half_sums[2 * at], scale * static_cast<float>(sums[0]));
    EXPECT_FLOAT_EQ(group.half_sums[2 * at + 1], scale * static_cast<float>(sums[1]));
    EXPECT_FLOAT_EQ(group.sums[at], scale * static_cast<float>(sums[0] + sums[1]));
  }
  for (std::size_t at = 3; at < 8; ++at) {  // past the end
    EXPECT_EQ(groups[1].scales[at], 0.0F);
    EXPECT_EQ(groups[1].sums[at], 0.0F);
    for (std::size_t i = 0; i < 32; ++i) EXPECT_EQ(groups[1].codes[32 * at + i], 0);
  }
}

// A call may mix types that have 8-bit products with types that have none.
TEST(MatvecInt8Jobs, PlainTypesStayInF32) {
  std::mt19937 rng(29);
  const Weights q = random_weights(TensorType::Q4_K, 70, 768, rng);
  const Weights k = random_weights(TensorType::F16, 9, 768, rng);
  const Weights none = random_weights(TensorType::Q6_K, 0, 768, rng);
  const Weights v = random_weights(TensorType::Q6_K, 33, 768, rng);
  const auto x = random_vectors(std::size_t{2} * 768, rng);
  std::vector<std::vector<float>> y;
  std::vector<MatvecJob> jobs;
  for (const Weights* w : {&q, &k, &none, &v}) y.emplace_back(2 * w->rows);
  std::size_t i = 0;
  for (const Weights* w : {&q, &k, &none, &v}) jobs.push_back({w->view(), y[i++].data()});
  matvec(jobs.data(), jobs.size(), x.get(), 2, kInt8);
  std::vector<float> f32(2 * k.rows);
  matvec(k.view(), x.get(), 2, f32.data());
  EXPECT_EQ(y[1], f32);
  if (!cpu_multiplies_int8()) return;
  expect_exact_product(q, x.get(), 2, y[0].data());
  expect_exact_product(v, x.get(), 2, y[3].data());
}

}  // namespace
}  // namespace thinkey
