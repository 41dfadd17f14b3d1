#include "eval/analysis/channel_statistics.h"

#include <Eigen/Core>
#include <Eigen/Eigenvalues>
#include <algorithm>
#include <cmath>
#include <functional>
#include <utility>

#include "base/parallel.h"

namespace thinkey::eval {
namespace {

using Matrix = Eigen::MatrixXd;
using Rows = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using RowsView = Eigen::Map<const Rows, 0, Eigen::OuterStride<>>;

// X^T X of the rows of one head; f32 products of short tiles, f64 sums over tiles.
void add_gram(RowsView rows, Matrix& gram) {
  constexpr Eigen::Index kTile = 128;
  for (Eigen::Index begin = 0; begin < rows.rows(); begin += kTile) {
    const auto tile = rows.middleRows(begin, std::min(kTile, rows.rows() - begin));
    const Eigen::MatrixXf product = tile.transpose() * tile;
    gram += product.cast<double>();
  }
}

std::vector<double> root_mean_squares(const Eigen::VectorXd& energy, std::size_t tokens) {
  std::vector<double> magnitudes(static_cast<std::size_t>(energy.size()));
  const double count = static_cast<double>(std::max<std::size_t>(1, tokens));
  for (std::size_t j = 0; j < magnitudes.size(); ++j) {
    magnitudes[j] = std::sqrt(energy[static_cast<Eigen::Index>(j)] / count);
  }
  return magnitudes;
}

// From squared singular values in ascending order; rounding may have made the smallest negative.
EnergyCurve energy_curve(const Eigen::VectorXd& squares) {
  const Eigen::VectorXd positive = squares.cwiseMax(0.0).reverse();
  const double total = positive.sum();
  EnergyCurve curve(static_cast<std::size_t>(positive.size()), 1.0);
  double sum = 0.0;
  for (std::size_t r = 0; r + 1 < curve.size() && total > 0; ++r) {
    sum += positive[static_cast<Eigen::Index>(r)];
    curve[r] = std::min(1.0, sum / total);
  }
  return curve;
}

}  // namespace

double top_share(std::span<const double> magnitudes, double share) {
  std::vector<double> energy;
  energy.reserve(magnitudes.size());
  for (const double m : magnitudes) energy.push_back(m * m);
  std::sort(energy.begin(), energy.end(), std::greater<>());
  const auto top = static_cast<std::size_t>(std::ceil(share * static_cast<double>(energy.size()) - 1e-9));
  double kept = 0.0;
  double total = 0.0;
  for (std::size_t j = 0; j < energy.size(); ++j) {
    total += energy[j];
    if (j < top) kept += energy[j];
  }
  return total > 0 ? kept / total : 1.0;
}

std::size_t rank_for(const EnergyCurve& curve, double share) {
  return static_cast<std::size_t>(std::lower_bound(curve.begin(), curve.end(), share) - curve.begin()) + 1;
}

struct LayerSums::Sums {
  std::vector<Matrix> queries;             // [H] Q^T Q, after RoPE
  std::vector<Matrix> keys, values;        // [Hkv] K^T K after RoPE, V^T V
  std::vector<Eigen::VectorXd> unrotated;  // [Hkv] sum of k_j^2 before RoPE
};

LayerSums::LayerSums(const AttentionShape& shape) : shape_(shape), sums_(std::make_unique<Sums>()) {
  const auto dim = static_cast<Eigen::Index>(shape.head_dim);
  sums_->queries.assign(shape.query_heads, Matrix::Zero(dim, dim));
  sums_->keys.assign(shape.kv_heads, Matrix::Zero(dim, dim));
  sums_->values = sums_->keys;
  sums_->unrotated.assign(shape.kv_heads, Eigen::VectorXd::Zero(dim));
}

LayerSums::~LayerSums() = default;

void LayerSums::add(const AttentionInputs& inputs) {
  const auto rows = [&](const float* x, std::size_t heads, std::size_t head) {
    return RowsView(x + head * shape_.head_dim, static_cast<Eigen::Index>(inputs.tokens),
                    static_cast<Eigen::Index>(shape_.head_dim),
                    Eigen::OuterStride<>(static_cast<Eigen::Index>(heads * shape_.head_dim)));
  };
  if (inputs.q != nullptr) {
    if (!inputs.rotated) return;
    parallel_for(shape_.query_heads,
                 [&](std::size_t h) { add_gram(rows(inputs.q, shape_.query_heads, h), sums_->queries[h]); });
    return;
  }
  parallel_for(shape_.kv_heads, [&](std::size_t h) {
    const RowsView keys = rows(inputs.k, shape_.kv_heads, h);
    if (inputs.rotated) {
      add_gram(keys, sums_->keys[h]);
      add_gram(rows(inputs.v, shape_.kv_heads, h), sums_->values[h]);
    } else {
      sums_->unrotated[h] += keys.cast<double>().colwise().squaredNorm().transpose();
    }
  });
  if (inputs.rotated) tokens_ += inputs.tokens;
}

LayerStatistics LayerSums::finish() {
  LayerStatistics statistics;
  statistics.magnitudes.resize(shape_.kv_heads);
  statistics.keys.resize(shape_.kv_heads);
  statistics.values.resize(shape_.kv_heads);
  statistics.logits.resize(shape_.query_heads);
  const std::size_t group = shape_.group();
  using Solver = Eigen::SelfAdjointEigenSolver<Matrix>;
  parallel_for(shape_.kv_heads, [&](std::size_t h) {
    const Matrix& keys = sums_->keys[h];
    const Matrix& values = sums_->values[h];
    statistics.magnitudes[h] = {.unrotated_keys = root_mean_squares(sums_->unrotated[h], tokens_),
                                .keys = root_mean_squares(keys.diagonal(), tokens_),
                                .values = root_mean_squares(values.diagonal(), tokens_)};
    const Solver of_keys(keys);
    statistics.keys[h] = energy_curve(of_keys.eigenvalues());
    statistics.values[h] = energy_curve(Solver(values, Eigen::EigenvaluesOnly).eigenvalues());
    const Matrix root = of_keys.eigenvectors() *
                        of_keys.eigenvalues().cwiseMax(0.0).cwiseSqrt().asDiagonal() *
                        of_keys.eigenvectors().transpose();
    for (std::size_t q = h * group; q < (h + 1) * group; ++q) {
      const Matrix product = root * sums_->queries[q] * root;
      statistics.logits[q] = energy_curve(Solver(product, Eigen::EigenvaluesOnly).eigenvalues());
    }
  });
  for (auto* grams : {&sums_->queries, &sums_->keys, &sums_->values}) {
    for (Matrix& gram : *grams) gram.setZero();
  }
  for (Eigen::VectorXd& energy : sums_->unrotated) energy.setZero();
  tokens_ = 0;
  return statistics;
}

}  // namespace thinkey::eval
