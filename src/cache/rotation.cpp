#include "cache/rotation.h"

#include <Eigen/Cholesky>
#include <Eigen/Core>
#include <Eigen/Eigenvalues>
#include <algorithm>

#include "cache/think.h"

namespace thinkey {
namespace {

using Matrix = Eigen::MatrixXd;
using FloatRows = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

// Share of the query moment that is taken to be isotropic: later queries differ from the window's.
constexpr double kShrinkage = 0.2;

Matrix query_moment(const CacheShape& shape, const PromptView& prompt, std::size_t window,
                    std::size_t kv_head) {
  const auto dim = static_cast<Eigen::Index>(shape.head_dim);
  const std::size_t group = shape.query_heads / shape.kv_heads;
  Matrix moment = Matrix::Zero(dim, dim);
  for (std::size_t s = prompt.queries - window; s < prompt.queries; ++s) {
    for (std::size_t g = 0; g < group; ++g) {
      const float* q = prompt.q + s * prompt.q_token_stride + (kv_head * group + g) * prompt.q_head_stride;
      const Eigen::VectorXd v = Eigen::Map<const Eigen::VectorXf>(q, dim).cast<double>();
      moment.selfadjointView<Eigen::Lower>().rankUpdate(v);
    }
  }
  moment = Matrix(moment.selfadjointView<Eigen::Lower>()) /
           static_cast<double>(std::max<std::size_t>(1, window * group));
  const double mean = std::max(moment.trace() / static_cast<double>(dim), 1e-12);
  return (1.0 - kShrinkage) * moment + kShrinkage * mean * Matrix::Identity(dim, dim);
}

Matrix key_moment(const CacheShape& shape, const PromptView& prompt, std::size_t kv_head,
                  std::span<const std::int32_t> kept, bool centred) {
  const auto dim = static_cast<Eigen::Index>(shape.head_dim);
  const TokenRows keys = prompt.k + kv_head * prompt.capacity * shape.head_dim;
  Eigen::MatrixXf sum = Eigen::MatrixXf::Zero(dim, dim);
  Matrix moment = Matrix::Zero(dim, dim);
  std::vector<float> scratch(shape.head_dim);
  constexpr std::size_t kTile = 256;  // f32 products of short tiles, f64 sums over tiles
  for (std::size_t begin = 0; begin < kept.size(); begin += kTile) {
    const std::size_t n = std::min(kTile, kept.size() - begin);
    FloatRows rows(static_cast<Eigen::Index>(n), dim);
    for (std::size_t i = 0; i < n; ++i) {
      const TokenRows key = keys + static_cast<std::size_t>(kept[begin + i]) * shape.head_dim;
      rows.row(static_cast<Eigen::Index>(i)) =
          Eigen::Map<const Eigen::RowVectorXf>(key.load(shape.head_dim, scratch.data()), dim);
    }
    sum.noalias() = rows.transpose() * rows;
    moment += sum.cast<double>();
  }
  moment /= static_cast<double>(std::max<std::size_t>(1, kept.size()));
  if (centred) {
    const std::vector<float> mean = mean_key(shape, prompt, kv_head, kept);
    const Eigen::VectorXd m = Eigen::Map<const Eigen::VectorXf>(mean.data(), dim).cast<double>();
    moment -= m * m.transpose();
  }
  return moment;
}

std::vector<float> row_major(const Matrix& m) {
  const FloatRows rows = m.cast<float>();
  return {rows.data(), rows.data() + rows.size()};
}

}  // namespace

Rotation best_rotation(const CacheShape& shape, const PromptView& prompt, std::size_t window,
                       std::size_t kv_head, std::span<const std::int32_t> kept_tokens, bool centred) {
  const Matrix lower = query_moment(shape, prompt, std::min(window, prompt.queries), kv_head).llt().matrixL();
  const Matrix keys = key_moment(shape, prompt, kv_head, kept_tokens, centred);
  const Eigen::SelfAdjointEigenSolver<Matrix> solver(lower.transpose() * keys * lower);

  // Eigenvalues come ascending. Each direction is scaled so that key coordinates keep the keys' size.
  const Matrix u = solver.eigenvectors().rowwise().reverse();
  Matrix key_map = u.transpose() * lower.transpose();
  Matrix query_map = lower.transpose().triangularView<Eigen::Upper>().solve(u).transpose();
  for (Eigen::Index j = 0; j < key_map.rows(); ++j) {
    const double norm = std::max(key_map.row(j).norm(), 1e-12);
    key_map.row(j) /= norm;
    query_map.row(j) *= norm;
  }
  Rotation rotation;
  rotation.key_map = row_major(key_map);
  rotation.query_map = row_major(query_map);
  for (Eigen::Index j = solver.eigenvalues().size() - 1; j >= 0; --j) {
    rotation.losses.push_back(static_cast<float>(std::max(0.0, solver.eigenvalues()[j])));
  }
  return rotation;
}

}  // namespace thinkey
