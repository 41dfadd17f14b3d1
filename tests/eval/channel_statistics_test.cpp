// Statistics of a layer against those of the whole matrices, by Eigen's SVD.
#include "eval/analysis/channel_statistics.h"

#include <gtest/gtest.h>

#include <Eigen/Core>
#include <Eigen/SVD>
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <random>
#include <vector>

namespace thinkey::eval {
namespace {

using Matrix = Eigen::MatrixXd;

constexpr AttentionShape kShape{.query_heads = 4, .kv_heads = 2, .head_dim = 8};
constexpr std::size_t kTokens = 70;

// Rows [T, heads, D] with channels of different size.
std::vector<float> random_rows(std::size_t heads, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  std::normal_distribution<float> gauss;
  std::vector<float> rows(kTokens * heads * kShape.head_dim);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    rows[i] = gauss(random) * static_cast<float>(1 + (i % kShape.head_dim) * (i % kShape.head_dim));
  }
  return rows;
}

Matrix head_of(const std::vector<float>& rows, std::size_t heads, std::size_t head) {
  Matrix matrix(kTokens, kShape.head_dim);
  for (std::size_t t = 0; t < kTokens; ++t) {
    for (std::size_t c = 0; c < kShape.head_dim; ++c) {
      matrix(static_cast<Eigen::Index>(t), static_cast<Eigen::Index>(c)) =
          rows[(t * heads + head) * kShape.head_dim + c];
    }
  }
  return matrix;
}

void expect_curve(const EnergyCurve& curve, const Matrix& matrix) {
  const Eigen::VectorXd squares = Eigen::JacobiSVD<Matrix>(matrix).singularValues().cwiseAbs2();
  ASSERT_EQ(curve.size(), kShape.head_dim);
  double sum = 0.0;
  for (std::size_t r = 0; r < curve.size(); ++r) {
    sum += squares[static_cast<Eigen::Index>(r)];
    EXPECT_NEAR(curve[r], sum / squares.sum(), 1e-6) << r;
  }
}

struct Layer {
  std::vector<float> unrotated_q = random_rows(4, 1), unrotated_k = random_rows(2, 2);
  std::vector<float> q = random_rows(4, 3), k = random_rows(2, 4), v = random_rows(2, 5);

  void show(LayerSums& sums, std::size_t first, std::size_t tokens) const {
    const std::size_t q_at = first * kShape.query_heads * kShape.head_dim;
    const std::size_t k_at = first * kShape.kv_heads * kShape.head_dim;
    for (const bool rotated : {false, true}) {
      AttentionInputs inputs{.layer = 0, .first = first, .tokens = tokens, .rotated = rotated};
      inputs.q = (rotated ? q : unrotated_q).data() + q_at;
      sums.add(inputs);
      inputs.q = nullptr;
      inputs.k = (rotated ? k : unrotated_k).data() + k_at;
      inputs.v = v.data() + k_at;
      sums.add(inputs);
    }
  }
};

TEST(ChannelStatistics, EqualTheWholeMatrices) {
  const Layer layer;
  LayerSums sums(kShape);
  for (int round = 0; round < 2; ++round) {  // finish() leaves nothing behind
    layer.show(sums, 0, 32);
    layer.show(sums, 32, 32);
    layer.show(sums, 64, 6);
    const LayerStatistics statistics = sums.finish();
    for (std::size_t h = 0; h < kShape.kv_heads; ++h) {
      const Matrix k = head_of(layer.k, 2, h);
      const Matrix unrotated = head_of(layer.unrotated_k, 2, h);
      const Matrix v = head_of(layer.v, 2, h);
      const double scale = 1.0 / std::sqrt(static_cast<double>(kTokens));
      for (std::size_t c = 0; c < kShape.head_dim; ++c) {
        const auto column = static_cast<Eigen::Index>(c);
        const ChannelMagnitudes& head = statistics.magnitudes[h];
        EXPECT_NEAR(head.keys[c], k.col(column).norm() * scale, 1e-4 * head.keys[c]);
        EXPECT_NEAR(head.unrotated_keys[c], unrotated.col(column).norm() * scale, 1e-4 * head.keys[c]);
        EXPECT_NEAR(head.values[c], v.col(column).norm() * scale, 1e-4 * head.values[c]);
      }
      expect_curve(statistics.keys[h], k);
      expect_curve(statistics.values[h], v);
      for (std::size_t g = 0; g < 2; ++g) {
        expect_curve(statistics.logits[2 * h + g], head_of(layer.q, 4, 2 * h + g) * k.transpose());
      }
    }
  }
}

// Keys that are multiples of two directions give logits of rank two, whatever the queries.
TEST(ChannelStatistics, FindsALowRank) {
  Layer layer;
  for (std::size_t i = 0; i < layer.k.size(); i += kShape.head_dim) {
    for (std::size_t c = 2; c < kShape.head_dim; ++c) layer.k[i + c] = layer.k[i + c % 2];
  }
  LayerSums sums(kShape);
  layer.show(sums, 0, kTokens);
  for (const EnergyCurve& curve : sums.finish().logits) {
    EXPECT_EQ(rank_for(curve, 1.0 - 1e-9), 2U);
    EXPECT_EQ(rank_for(curve, 0.01), 1U);
  }
}

TEST(ChannelStatistics, Shares) {
  EXPECT_DOUBLE_EQ(top_share(std::vector<double>{1, 3, 2, 1}, 0.25), 9.0 / 15.0);
  EXPECT_DOUBLE_EQ(top_share(std::vector<double>{1, 3, 2, 1}, 0.3), 13.0 / 15.0);
  EXPECT_DOUBLE_EQ(top_share(std::vector<double>{1, 3, 2, 1}, 1.0), 1.0);
  EXPECT_DOUBLE_EQ(top_share(std::vector<double>{0, 0}, 0.5), 1.0);
  EXPECT_EQ(rank_for({0.5, 0.9, 1.0}, 0.9), 2U);
  EXPECT_EQ(rank_for({0.5, 0.9, 1.0}, 0.91), 3U);
}

}  // namespace
}  // namespace thinkey::eval
